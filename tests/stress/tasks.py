"""Frozen coroutine functions in an event loop."""

import asyncio

from scenario import maker, scenario

from immutable import freeze


@scenario(weight=1)
def functions_in_an_event_loop(run):
    """Frozen coroutine functions run as tasks that interleave, are cancelled, and outlive the function."""
    rng = run.random
    number = rng.randint(1000, 10**6)
    worker = freeze(coroutine_function(number))

    async def main():
        tasks = [asyncio.create_task(worker(rng.randrange(6))) for _ in range(rng.randint(1, 40))]
        await asyncio.sleep(0)
        for task in rng.sample(tasks, len(tasks) // 3):
            task.cancel()
        for task in tasks:
            run.step()
            try:
                result = await task
            except asyncio.CancelledError:
                continue
            run.check(result == number, "result of a task", result)

    asyncio.run(main())


@maker(1000)
def coroutine_function(number):
    held = {"number": number}

    async def work(depth):
        for _ in range(depth):
            await asyncio.sleep(0)
        if depth:
            return await work(depth - 1)
        return held["number"]

    return work
