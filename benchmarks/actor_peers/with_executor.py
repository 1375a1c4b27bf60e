"""The standard library's process pool at the jobs of `task`: what a pool of actors is held against."""

from concurrent.futures import ProcessPoolExecutor

import task


def job(_number: int) -> int:
    """Compute."""
    return task.compute()


def main() -> None:
    """Do the work."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(job, range(4)))
        seconds = [task.timed(lambda: list(pool.map(job, range(task.JOBS)))) for _ in range(3)]
        task.tell(pool_seconds=min(seconds))


if __name__ == "__main__":
    main()
