"""A small one-way constraint solver over linked objects, after the DeltaBlue benchmark's idea."""


class Variable:
    def __init__(self, value):
        self.value = value
        self.constraints = []
        self.stay = True


class Scale:
    def __init__(self, source, target, factor, offset):
        self.source, self.target, self.factor, self.offset = source, target, factor, offset
        source.constraints.append(self)

    def execute(self):
        self.target.value = self.source.value * self.factor + self.offset


class Planner:
    def __init__(self):
        self.plans = {}

    def plan(self, variable):
        plan, agenda = [], [variable]
        while agenda:
            for constraint in agenda.pop().constraints:
                plan.append(constraint)
                agenda.append(constraint.target)
        self.plans[variable] = plan
        return plan


def run(n):
    total = 0
    for i in range(n):
        variables = [Variable(j) for j in range(60)]
        for source, target in zip(variables, variables[1:]):
            Scale(source, target, 1, i)
        planner = Planner()
        for constraint in planner.plan(variables[0]):
            constraint.execute()
        for constraint in planner.plans[variables[0]]:
            constraint.execute()
        total += variables[-1].value
    return total
