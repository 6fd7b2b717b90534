#!/usr/bin/env python3
"""Takes a database of the original over in place and compares what follows with what the original did.

  take_over.py DIRECTORY [equal] [history] [final-5] [final-2592000]

DIRECTORY holds the dump of a database whose server was killed in the middle, with the answers that it had given and its own checker
(check.py). All checks run at the same time, each on a database of its own; `final` waits for some minutes until all attempts have ended.
Ends with `N passed, N failed`."""
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'store'))
import server as postgresql  # noqa: E402

BINARY = os.path.abspath(os.environ.get('DIGDAG_BINARY', 'build/release/digdag'))
READ_ONLY = ('--disable-local-agent', '--disable-executor-loop', '--disable-scheduler')
MONITORS_AWAY = 'update session_monitors set next_run_time = 4102444800;'


class Check:
    """One of check.py's, against a server of its own on a fresh copy of the dump."""

    def __init__(self, material, databases, name, mode, age=None, words=()):
        self.material, self.databases, self.name, self.mode, self.age, self.words = material, databases, name, mode, age, words
        self.output, self.passed = '', False

    def run(self):
        directory = tempfile.mkdtemp(prefix='digdag-take-over-')
        try:
            self.check(directory)
        except Exception as error:  # whatever it is, the other checks go on
            self.output += f'{type(error).__name__}: {error}\n'
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def check(self, directory):
        database = self.restore()
        subprocess.run(['tar', 'xzf', os.path.join(self.material, 'logs.tar.gz')], cwd=directory, check=True)
        settings = os.path.join(directory, 'server.properties')
        with open(settings, 'w', encoding='utf-8') as out:
            out.write(self.settings(database))
        info, log = os.path.join(directory, 'runtime-info.json'), os.path.join(directory, 'server.log')
        with open(log, 'wb') as out:
            process = subprocess.Popen([BINARY, 'server', '-c', settings, '-X', f'server.runtime-info.path={info}', *self.words],
                                       cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            while not os.path.exists(info) and process.poll() is None:
                time.sleep(0.05)
            if process.poll() is None:
                with open(info, encoding='utf-8') as file:
                    port = json.load(file)['local_addresses'][0]['port']
                done = subprocess.run([sys.executable, os.path.join(self.material, 'check.py'), self.mode, f'http://127.0.0.1:{port}'],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                self.output += done.stdout
                self.passed = done.returncode == 0
        finally:
            process.send_signal(signal.SIGKILL)  # two attempts wait for an hour
            process.wait()
        if not self.passed:
            with open(log, encoding='utf-8', errors='replace') as file:
                self.output += ''.join(line for line in file if 'ERROR' in line or 'WARN' in line or line.startswith('error'))

    def restore(self):
        database = self.name.replace('-', '_')
        self.databases.create(database)
        with gzip.open(os.path.join(self.material, 'dump.sql.gz'), 'rt', encoding='utf-8') as dump:
            self.databases.psql(database, dump.read())
        if self.age is None:
            self.databases.psql(database, MONITORS_AWAY)
        else:
            with open(os.path.join(self.material, 'rebase.sql'), encoding='utf-8') as file:
                self.databases.psql(database, f'\\set age {self.age}\n' + file.read())
        return database

    def settings(self, database):
        with open(os.path.join(self.material, 'server.properties'), encoding='utf-8') as file:
            text = file.read()
        for name, value in (('HOST', self.databases.directory), ('PORT', '5432'), ('USER', 'digdag'), ('DATABASE', database),
                            ('SERVER_PORT', '0')):
            text = text.replace(f'@{name}@', value)
        return re.sub('(?m)^agent.id = .*$', 'agent.id = 1@newhost', text)


def main(material, wanted):
    material = os.path.abspath(material)
    databases = postgresql.Server()
    try:
        checks = [Check(material, databases, 'equal', 'equal', words=READ_ONLY),
                  Check(material, databases, 'history', 'history', age=5),
                  Check(material, databases, 'final-5', 'final', age=5),
                  Check(material, databases, 'final-2592000', 'final', age=2592000)]
        checks = [check for check in checks if not wanted or check.name in wanted]
        threads = [threading.Thread(target=check.run) for check in checks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        databases.stop()
    for check in checks:
        print(f'{check.name}: {"passed" if check.passed else "FAILED"}\n{check.output}')
    failed = sum(not check.passed for check in checks)
    print(f'{len(checks) - failed} passed, {failed} failed')
    return failed != 0


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
