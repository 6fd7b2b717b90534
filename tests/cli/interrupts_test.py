#!/usr/bin/env python3
"""Ctrl-C and SIGTERM at any moment: everything that was started ends, and no state file claims what did not happen."""
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest, SESSION  # noqa: E402

ROUNDS = int(os.environ.get('DIGDAG_INTERRUPT_ROUNDS', '40'))
WORKFLOW = '''timezone: UTC
+first:
  sh>: echo run first >> ran.txt
+loop:
  loop>: 3
  _parallel: true
  _do:
    sh>: sleep 0.05; echo run loop-${i} >> ran.txt
+js:
  echo>: ${moment(session_time).format()}
+last:
  sh>: sleep 0.1; echo run last >> ran.txt
'''
POLITE = '''
+a:
  sh>: "trap 'touch goodbye; exit 0' TERM; touch started; while true; do sleep 0.05; done"
'''


class Interrupts(ProgramTest):
    def processes(self):
        """Processes that still work in the project's directory."""
        found = []
        for entry in os.listdir('/proc'):
            try:
                if entry.isdigit() and os.readlink(f'/proc/{entry}/cwd').startswith(self.project):
                    found.append(entry)
            except OSError:
                continue
        return found

    def interrupted(self, number):
        self.file('w.dig', '+a:\n  sh>: touch started; sleep 60\n+b:\n  echo>: never\n')
        process = self.start('run', 'w.dig', *SESSION)
        self.wait_for('the task', lambda: self.exists('started'))
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 128 + number, err.decode())
        self.assertIn('error: interrupted', err.decode())
        self.assertIn('+w+a', err.decode())
        self.assertEqual(self.state_files(), [])
        self.wait_for('the end of all processes', lambda: not self.processes())

    def test_ctrl_c_ends_with_130(self):
        self.interrupted(signal.SIGINT)

    def test_sigterm_ends_with_143(self):
        self.interrupted(signal.SIGTERM)

    def test_an_endless_expression_ends_at_once(self):
        self.file('w.dig', '+a:\n  sh>: touch started\n+b:\n  echo>: ${(function(){ for (;;); })()}\n')
        process = self.start('run', 'w.dig', *SESSION, '-X', 'eval.timeout=3600s')
        self.wait_for('the task before', lambda: self.exists('started'))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 130)
        self.assertIn('error: interrupted', err.decode(), 'ended by patience alone')
        self.wait_for('the end of all processes', lambda: not self.processes())

    def test_a_task_that_waits_is_told_as_interrupted(self):
        self.file('w.dig', '_parallel: true\n+a:\n  wait>: 1h\n+b:\n  sh>: touch started; sleep 60\n')
        process = self.start('run', 'w.dig', *SESSION)
        self.wait_for('the tasks', lambda: self.exists('started'))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        for task in ('a', 'b'):
            self.assertIn(f'  * +w+{task}:\n    interrupted', err.decode())
        self.assertIn('hint: digdag run w.dig --session', err.decode())

    def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_time(self):
        self.file('w.dig', "+a:\n  sh>: trap '' TERM; touch started; while true; do sleep 0.1; done\n")
        process = self.start('run', 'w.dig', *SESSION, '-X', 'agent.kill-grace-time=1')
        self.wait_for('the task', lambda: self.exists('started'))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.wait_for('the end of all processes', lambda: not self.processes())

    def test_signals_that_were_ignored_before_stay_ignored(self):
        self.file('w.dig', '+a:\n  sh>: touch started; until [ -e go ]; do sleep 0.05; done\n')
        for number in (signal.SIGHUP, signal.SIGINT):
            # As nohup does, and a shell with its background jobs.
            process = self.start('run', 'w.dig', '--rerun', *SESSION, ignoring=number)
            self.wait_for('the task', lambda: self.exists('started'))
            process.send_signal(number)
            self.file('go', '')
            _, err = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 0, err.decode())
            for name in ('started', 'go'):
                os.remove(os.path.join(self.project, name))

    def test_a_reader_that_stalls_does_not_keep_it_from_ending(self):
        self.file('w.dig', '+a:\n  sh>: touch started; yes\n')
        process = self.start('run', 'w.dig', *SESSION, '-X', 'agent.kill-grace-time=0')  # nobody reads its output
        self.wait_for('the task', lambda: self.exists('started'))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 143)
        self.wait_for('the end of all processes', lambda: not self.processes())

    def test_the_session_stays_closed_until_the_tasks_of_a_killed_run_are_gone(self):
        self.file('w.dig', "+a:\n  sh>: trap '' TERM; touch started; until [ -e go ]; do sleep 0.05; done\n")
        first = self.start('run', 'w.dig', *SESSION)
        self.wait_for('the task', lambda: self.exists('started'))
        first.kill()
        first.wait(30)
        second = self.digdag('run', 'w.dig', *SESSION)
        self.assert_error(second, 'is still being stopped', f'pid {first.pid} has ended')
        self.file('go', '')
        self.wait_for('the end of all processes', lambda: not self.processes())
        self.assertEqual(self.digdag('run', 'w.dig', *SESSION).code, 0)

    def goodbye_after_ctrl_c(self, workflow, *options):
        self.file('w.dig', workflow)
        process = self.start('run', 'w.dig', *SESSION, *options)
        self.wait_for('the task', lambda: self.exists('started'))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn('error: interrupted', err.decode(), 'ended by patience alone')
        return self.exists('goodbye')

    def test_a_command_is_asked_to_end_although_it_is_never_interrupted_otherwise(self):
        self.assertTrue(self.goodbye_after_ctrl_c(POLITE, '-X', 'agent.kill-grace-time=-1'))

    def test_a_grace_time_without_end_is_no_time_that_has_passed(self):
        slowly = POLITE.replace('touch goodbye', 'sleep 0.5; touch goodbye')
        self.assertTrue(self.goodbye_after_ctrl_c(slowly, '-X', 'agent.kill-grace-time=10000000000'))

    def test_the_kill_grace_of_a_task_goes_before_that_of_the_agent(self):
        for grace in ('1m', '${1}m'):
            self.assertTrue(self.goodbye_after_ctrl_c(POLITE + f'  _kill_grace: {grace}\n', '-X', 'agent.kill-grace-time=0'), grace)
            for name in ('started', 'goodbye'):
                os.remove(os.path.join(self.project, name))

    def test_at_random_moments_no_state_file_claims_what_did_not_happen(self):
        seed = int(os.environ.get('DIGDAG_SEED', random.randrange(1 << 30)))
        print(f'seed {seed} (DIGDAG_SEED={seed} replays)')
        dice = random.Random(seed)
        self.file('w.dig', WORKFLOW)
        for _ in range(ROUNDS):
            for name in os.listdir(self.project):
                if name != 'w.dig':
                    subprocess.run(['rm', '-rf', os.path.join(self.project, name)], check=True)
            process = self.start('run', 'w.dig', *SESSION)
            time.sleep(dice.uniform(0, 0.5))
            number = dice.choice([signal.SIGINT, signal.SIGTERM])
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
            # Before the program watches for signals it ends by the signal itself: nothing was started then.
            self.assertIn(process.returncode, (0, 128 + number, -number), err.decode())
            self.wait_for('the end of all processes', lambda: not self.processes())
            self.check_state()

    def check_state(self):
        ran = self.content('ran.txt') if self.exists('ran.txt') else ''
        for task in self.state_files():
            if task.endswith('+first') or task.endswith('+last'):
                self.assertIn('run ' + task.rsplit('+', 1)[1], ran, task)
            if '+loop-' in task:
                self.assertIn('run loop-' + task[-1], ran, task)


if __name__ == '__main__':
    unittest.main()
