"""Objects of C modules, whose methods ask their type for the state of its module."""

import decimal
import re
import struct
from array import array
from collections import deque

WORDS = re.compile(r"(\w+)=(\d+)")
PAIR = struct.Struct("<if")
STEP = decimal.Decimal("0.25")


def run(n):
    total = 0
    for i in range(n):
        numbers = array("d", range(50))
        for j in range(49):
            numbers[j] = numbers[j + 1] + i
        total += numbers[0]
        total += sum(int(found[2]) for found in WORDS.finditer("a=1 b=22 c=333 d=4444"))
        total += PAIR.unpack(PAIR.pack(i & 255, 0.5))[0]
        queue = deque(range(20), maxlen=10)
        queue.rotate(3)
        total += queue[0]
        amount = decimal.Decimal(i)
        for _ in range(10):
            amount += STEP
        total += int(amount)
    return total
