#!/usr/bin/env python3
"""Small limits of the system: what is enough is enough, and what is not ends with an error, never with a crash."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import BINARY, Done, ProgramTest, SESSION  # noqa: E402

WORKFLOW = '''
+many:
  loop>: 50
  _parallel: true
  _do:
    sh>: echo "${i + 1}"
'''


class Limits(ProgramTest):
    def limited(self, limit):
        words = ['/bin/bash', '-c', f'ulimit {limit} && exec "$@"', 'bash', BINARY, 'run', 'w.dig', *SESSION]
        done = subprocess.run(words, cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, check=False)
        return Done(done.returncode, done.stdout.decode('utf-8', 'replace'), done.stderr.decode('utf-8', 'replace'))

    def test_a_small_stack_is_enough(self):
        self.file('w.dig', WORKFLOW)
        self.assertEqual(self.limited('-s 64').code, 0)

    def test_without_enough_memory_there_is_an_error(self):
        self.file('w.dig', WORKFLOW)
        self.assert_error(self.limited('-v 25000'))
        for kilobytes in (30_000, 35_000, 40_000, 50_000, 60_000, 80_000, 100_000):
            with self.subTest(kilobytes=kilobytes):
                done = self.limited(f'-v {kilobytes}')
                if done.code != 0:
                    self.assert_error(done)

    def test_files_of_tasks_are_removed_though_no_file_can_be_opened(self):
        self.file('w.dig', WORKFLOW.replace('50', '100'))
        self.limited('-n 64')
        self.assertFalse(self.exists('.digdag/tmp'))


if __name__ == '__main__':
    unittest.main()
