#!/usr/bin/env python3
"""Small limits of the system: what is enough is enough, and what is not ends with an error, never with a crash."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import BINARY, Done, ProgramTest  # noqa: E402

WORKFLOW = '''
+many:
  loop>: 50
  _parallel: true
  _do:
    sh>: echo "${i + 1}"
'''


class Limits(ProgramTest):
    @staticmethod
    def words(limit, session='2026-01-02'):
        return ['/bin/bash', '-c', f'ulimit {limit} && exec "$@"', 'bash', BINARY, 'run', 'w.dig', '--session', session]

    def limited(self, limit, session='2026-01-02'):
        done = subprocess.run(self.words(limit, session), cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, check=False)
        return Done(done.returncode, done.stdout.decode('utf-8', 'replace'), done.stderr.decode('utf-8', 'replace'))

    def test_a_small_stack_is_enough(self):
        self.file('w.dig', WORKFLOW)
        self.assertEqual(self.limited('-s 64').code, 0)

    def test_without_enough_memory_there_is_an_error_and_no_crash(self):
        self.file('w.dig', WORKFLOW)
        # Where it runs out of memory is another place each time.
        for day, kilobytes in enumerate((*10 * (25_000, 30_000), 35_000, 40_000, 50_000, 60_000, 80_000, 100_000)):
            with self.subTest(kilobytes=kilobytes):
                done = self.limited(f'-v {kilobytes}', f'2026-01-{day + 3:02}')
                if done.code != 0:
                    self.assert_error(done)

    def test_files_of_tasks_are_removed_though_no_file_can_be_opened(self):
        self.file('w.dig', '+many:\n  loop>: 100\n  _parallel: true\n  _do:\n    sh>: until [ -e go ]; do sleep 0.1; done\n')
        process = subprocess.Popen(self.words('-n 64'), cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        self.addCleanup(process.kill)
        told = b''
        while b'Too many open files' not in told:
            line = process.stdout.readline()
            self.assertTrue(line, told.decode())
            told += line
        self.file('go', '')
        process.communicate(timeout=120)
        self.assertEqual(process.returncode, 1)
        self.assertFalse(self.exists('.digdag/tmp'))


if __name__ == '__main__':
    unittest.main()
