#!/usr/bin/env python3
"""`--task-log DIR`: one gzipped log for each run of a task, laid out as the original's (spec/server.md 15)."""
import glob
import gzip
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest  # noqa: E402


class TaskLog(ProgramTest):
    def read(self, task):
        found = glob.glob(os.path.join(self.project, 'logs', '*', '0.1w@20260102T000000+0000', glob.escape(task) + '@' + '[0-9a-f]' * 16 + '.*@*.log.gz'))
        self.assertEqual(len(found), 1, found)
        with gzip.open(found[0], 'rt', encoding='utf-8') as log:
            return log.read()

    # cli 11.64
    def test_holds_the_lines_and_what_the_task_printed(self):
        self.assertEqual(self.run_workflow('+a:\n  sh>: echo printed\n+b:\n  echo>: said\n', '--task-log', 'logs').code, 0)
        self.assertRegex(self.read('+w+a'), r'(?s)^\d{4}-\d\d-\d\d [\d:.]{12} \+0000 \[INFO\] \(\d+@\[0:default:1:1\]\+w\+a\) agent: sh>: echo printed\nprinted\n')
        self.assertIn('\nsaid\n', self.read('+w+b'))

    def test_holds_no_secret(self):
        self.run_workflow('+a:\n  sh>: echo ${secret:db.password}\n', '-O', 'logs', '-X', 'secrets.db.password=swordfish-7')
        self.assertNotIn('swordfish', self.read('+w+a'))

    def test_shows_what_a_terminal_would_obey_in_its_lines_only(self):
        self.run_workflow("+a:\n  sh>: \"printf '\\\\033[1mbold' # \\e[2J\"\n", '-O', 'logs')
        log = self.read('+w+a')
        self.assertIn(r'# \u001b[2J', log)
        self.assertEqual(log.count('\x1b'), 1, log)
        self.assertIn('\x1b[1mbold', log)

    def test_that_cannot_be_written_does_not_fail_the_task(self):
        self.file('logs', 'a file in the way')
        done = self.run_workflow('+a:\n  echo>: fine\n', '-O', 'logs')
        self.assertEqual(done.code, 0, done.err)
        self.assertTrue(done.log('cannot be written'))


if __name__ == '__main__':
    unittest.main()
