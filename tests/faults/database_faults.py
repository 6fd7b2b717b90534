#!/usr/bin/env python3
"""Takes PostgreSQL away from a server under load: stopped and started again, connections cut by a proxy in their midst, also between
COMMIT and its answer. The server lives through it, with two connections.

Uses DIGDAG_BINARY. A seed decides the moments.
"""
import argparse
import os
import random
import socket
import sys
import threading
import time

from load import Checker, Load, Scene, conclude, wait_for

COMMITTED = b'C\x00\x00\x00\x0bCOMMIT\x00'


class Proxy:
    """Between the server and the socket of PostgreSQL. Cuts connections when told, and after commits of its own choice."""

    def __init__(self, target, seed):
        self.target, self.chance = target, random.Random(seed)
        self.lost_answers = 0
        self.most_lost_answers = 0
        self.pairs = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.add((near, far))
            threading.Thread(target=self.carry, args=(near, far, near, far, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, near, far, True), daemon=True).start()

    def carry(self, source, target, near, far, answers):
        try:
            while True:
                piece = source.recv(65536)
                if not piece or (answers and COMMITTED in piece and self.loses_answer()):
                    break
                target.sendall(piece)
        except OSError:
            pass
        self.cut(near, far)

    def loses_answer(self):
        with self.lock:
            lost = self.lost_answers < self.most_lost_answers and self.chance.random() < 0.2
            self.lost_answers += lost
            return lost

    def cut(self, near, far):
        with self.lock:
            if (near, far) not in self.pairs:
                return
            self.pairs.remove((near, far))
        for one in (near, far):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def cut_all(self):
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.cut(*pair)


def ends_while_it_is_away():
    """With a limit, a shutdown does not wait for a database that does not come back."""
    with Scene('postgresql', 'server.shutdown-timeout = 1s\n') as scene:
        server = scene.server
        server.start()
        server.wait_until_it_listens()
        Load(server, 5, 0).begin()
        wait_for('work', lambda: os.path.getsize(server.marks) > 0)
        scene.database.server.halt('fast')
        scene.good = server.end() == 143
        scene.database.server.start()
        return [] if scene.good else ['a server whose database is away did not end in order:\n' + server.log_text()[-2000:]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--faults', type=int, default=4)
    parser.add_argument('--attempts', type=int, default=60)
    parser.add_argument('--away', type=float, default=3, help='seconds for which PostgreSQL is stopped')
    parser.add_argument('--crash', action='store_true', help='PostgreSQL is ended as by a power cut, not in order')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f'{options.faults} faults, {options.attempts} attempts, {"crashes" if options.crash else "stops"}, seed {options.seed}', flush=True)
    chance = random.Random(options.seed)
    with Scene('postgresql') as scene:
        server, database = scene.server, scene.database
        proxy = Proxy(os.path.join(database.server.directory, '.s.PGSQL.5432'), options.seed)
        database.more = f'database.host = 127.0.0.1\ndatabase.port = {proxy.port}\n'
        server.start()
        server.wait_until_it_listens()
        load = Load(server, options.attempts, options.seed)
        load.begin()
        for number in range(options.faults):
            time.sleep(chance.random() * 2)
            if number % 3 == 0:
                database.server.halt('immediate' if options.crash else 'fast')
                time.sleep(options.away)
                database.server.start()
            elif number % 3 == 1:
                proxy.cut_all()
            else:
                proxy.most_lost_answers = proxy.lost_answers + 5
        load.wait_until_all_are_started()
        checker = Checker(server, load)
        # The tests of the schedule and of the driver say which of these errors come; here they only must not end anything.
        checker.expected_errors += ('is not available', 'The schedules cannot be looked at', 'Watching over attempts', r'\(http\)')
        checker.wait_until_all_is_over()
        load.end()
        server.end()
        problems = checker.check(same_process_once=not options.crash, lost_commits=options.crash)
        if not options.crash and checker.again:
            problems.append(f'{checker.again} runs were made again, although the server lived')
        problems += ends_while_it_is_away()
        if server.number != 1:
            problems.append('the server died')
        return conclude(scene, problems, f'{len(load.acknowledged)} attempts and {checker.scheduled} of the schedule, {checker.runs} runs of which '
                        f'{checker.again} again, {proxy.lost_answers} answers of COMMIT lost, answers {dict(load.repeated)}')


if __name__ == '__main__':
    sys.exit(main())
