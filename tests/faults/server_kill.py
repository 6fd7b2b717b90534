#!/usr/bin/env python3
"""Kills a server under load with -9 at random moments, or asks it to end, starts it again at once, and looks at what became of the work.

Uses DIGDAG_BINARY. A seed decides the moments.
"""
import argparse
import random
import sys
import time

from load import Checker, Load, Scene, conclude, wait_for_none


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--kills', type=int, default=5)
    parser.add_argument('--attempts', type=int, default=60)
    parser.add_argument('--database', choices=['sqlite', 'postgresql'], default='sqlite')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f'{options.kills} kills, {options.attempts} attempts, {options.database}, seed {options.seed}', flush=True)
    chance = random.Random(options.seed)
    orphans = []
    with Scene(options.database) as scene:
        server = scene.server
        server.start()
        server.wait_until_it_listens()
        load = Load(server, options.attempts, options.seed)
        load.begin()
        for number in range(options.kills):
            # Some die while they start, some in the midst of work, some when all waits.
            time.sleep(chance.choice([0.01, 0.05, 0.2, 1, 2]) * chance.random() * 2)
            # Some are asked to end and go when what runs has ended.
            server.kill() if chance.random() < 0.8 else server.end()
            killed = server.number
            server.start()
            if number % 10 == 0:
                orphans += [f'process {killed} of the server was killed, and this goes on: {left}'
                            for left in wait_for_none(lambda of=killed: server.processes(of))]
        server.wait_until_it_listens()
        load.wait_until_all_are_started()
        checker = Checker(server, load)
        checker.wait_until_all_is_over()
        load.end()
        server.end()
        problems = orphans + checker.check()
        return conclude(scene, problems, f'{server.number} processes, {len(load.acknowledged)} attempts and {checker.scheduled} of the schedule, '
                        f'{checker.runs} runs of which {checker.again} again, answers {dict(load.repeated)}')


if __name__ == '__main__':
    sys.exit(main())
