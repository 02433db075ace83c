class Account:
    def __init__(self, balance):
        self.balance = balance
        self.moves = 0

    def move(self, amount):
        self.balance += amount
        self.moves += 1
        return self.balance


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self):
        self.left = 0
        self.right = 1


def run(n):
    account, pair = Account(100), Slotted()
    for i in range(n * 500):
        account.move(i & 7)
        pair.left, pair.right = pair.right, pair.left + 1
    return account.balance + pair.left
