#!/usr/bin/env python3
"""On a terminal: colours, the live progress line, Ctrl-C and the summary (spec/clarifications.md 1.19, 4.5)."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest, SESSION, Terminal  # noqa: E402

GREEN, YELLOW, MAGENTA, END = '\x1b[32m', '\x1b[33m', '\x1b[35m', '\x1b[0;39m'


class OnATerminal(ProgramTest):
    def terminal(self, text, *words, **environment):
        self.file('w.dig', text)
        return Terminal(self, 'run', 'w.dig', *SESSION, *words, **environment)

    def test_log_lines_have_colours_and_no_component(self):
        terminal = self.terminal('+a:\n  echo>: hello\n')
        self.assertEqual(terminal.end(), 0)
        self.assertIn(GREEN, terminal.text)
        self.assertIn('+w+a): echo>: hello', terminal.text)

    # cli 11.65
    def test_each_level_has_its_colour_which_ends_behind_the_line(self):
        terminal = self.terminal('trigger: {attempt>: , dependent_workflow_name: x}\n+a:\n  fail>: no\n')
        self.assertEqual(terminal.end(), 1)
        for colour, level in ((GREEN, 'INFO'), (YELLOW, 'WARN'), (MAGENTA, 'ERROR')):
            self.assertRegex(terminal.text, re.escape(colour) + rf'\S+ \S+ \S+ \[{level}\] [^\x1b]*\r\n' + re.escape(END))

    def test_what_tasks_print_has_no_colour(self):
        terminal = self.terminal('+a:\n  echo>: hello\n', '-q')
        terminal.end()
        self.assertNotIn('\x1b[3', terminal.text)
        self.assertIn('hello', terminal.text)
        self.assertNotIn('\x1b', self.run_workflow('+a:\n  echo>: hello\n').out)

    def test_no_color_is_honoured(self):
        terminal = self.terminal('+a:\n  fail>: no\n', NO_COLOR='1')
        self.assertEqual(terminal.end(), 1)
        self.assertNotIn('\x1b[3', terminal.text)

    def test_color_never_and_always(self):
        never = self.terminal('+a:\n  echo>: hello\n', '--color', 'never')
        never.end()
        self.assertNotIn('\x1b[3', never.text)
        self.assertIn(GREEN, self.digdag('run', 'w.dig', '--rerun', *SESSION, '--color', 'always').out)

    def test_progress_shows_done_running_and_elapsed_time(self):
        terminal = self.terminal('+a:\n  echo>: hello\n+b:\n  sh>: while [ ! -e seen ]; do sleep 0.05; done\n')
        self.assertTrue(terminal.read_until('1/2 done, 1 running'), terminal.text)
        self.file('seen', '')
        self.assertEqual(terminal.end(), 0)

    def test_no_progress_where_no_terminal_looks_on(self):
        done = self.run_workflow('+a:\n  sh>: sleep 1\n')
        self.assertNotIn('running', done.out + done.err)

    def test_a_failure_ends_with_a_summary(self):
        terminal = self.terminal('+a:\n  sh>: echo the cause; exit 3\n')
        self.assertEqual(terminal.end(), 1)
        for text in ('* +w+a:', 'Command failed with code 3', 'w.dig:1:1', 'the cause', 'goes on from here', MAGENTA):
            self.assertIn(text, terminal.text)

    def test_ctrl_c_is_told_and_ends_with_130(self):
        terminal = self.terminal('+a:\n  sh>: touch started; sleep 60\n')
        self.wait_for('the task', lambda: self.exists('started'))
        terminal.type('\x03')
        self.assertEqual(terminal.end(), 130)
        self.assertIn('error: interrupted', terminal.text)


if __name__ == '__main__':
    unittest.main()
