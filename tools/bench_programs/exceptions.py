def checked(value):
    if value % 3 == 0:
        raise ValueError(value)
    return value


def run(n):
    caught = 0
    for i in range(n * 150):
        try:
            checked(i)
        except ValueError as error:
            caught += len(error.args)
        finally:
            caught += 1
    return caught
