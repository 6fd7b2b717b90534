#!/usr/bin/env python3
"""Ends `digdag run`, or its guard, in the middle of commands, and looks at what is left.

All processes of a run carry a mark in their environment; after the end of the run none may be left. Uses DIGDAG_BINARY; a
seed can be given as argument (the moments of the random kills follow from it).
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'cli'))
from program import BINARY, as_at_login  # noqa: E402

SEED = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else random.randrange(1 << 32)
ROUNDS = int(os.environ.get('DIGDAG_FAULT_ROUNDS', '20'))


def eventually(holds):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


class Run:
    """`digdag run` of one workflow in a directory of its own."""

    def __init__(self, workflow, *options):
        self.directory = tempfile.TemporaryDirectory()
        self.mark = ('DIGDAG_FAULT_TEST=' + uuid.uuid4().hex).encode()
        with open(self.path('w.dig'), 'w') as out:
            out.write(workflow)
        self.output = open(self.path('output'), 'w+b')
        self.process = self.start('w.dig', *options)

    def start(self, *words):
        name, value = self.mark.decode().split('=')
        environment = dict(os.environ, **{name: value})
        environment.pop('DIGDAG_CONFIG', None)
        return subprocess.Popen([BINARY, 'run', *words], cwd=self.directory.name, env=environment,
                                stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, preexec_fn=as_at_login)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()
        self.directory.cleanup()

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def text(self):
        with open(self.path('output'), errors='replace') as source:
            return source.read()

    def processes(self, program=None):
        """The living processes of this run; only those of that program, where one is given."""
        found = []
        for entry in os.listdir('/proc'):
            if not entry.isdigit():
                continue
            try:
                with open('/proc/%s/environ' % entry, 'rb') as source:
                    if self.mark not in source.read().split(b'\0'):
                        continue
                with open('/proc/%s/cmdline' % entry, 'rb') as source:
                    words = source.read().split(b'\0')
            except OSError:
                continue
            if words != [b''] and (program is None or program.encode() in words):
                found.append(int(entry))
        return found

    def wait_for(self, name, lines=1):
        def has_lines():
            try:
                with open(self.path(name)) as source:
                    return source.read().count('\n') >= lines
            except OSError:
                return False
        assert eventually(has_lines), '%s was not written; the run printed:\n%s' % (name, self.text())

    def end(self):
        return self.process.wait(timeout=60)


SLEEPER = """
+a:
  sh>: "echo ready >> ready; sleep 300"
"""

# A task with children and grandchildren, of which one has lost its parent, one does not listen to SIGTERM, one has made a
# process group and one a session of its own.
FAMILY = """
+family:
  sh>: |
    (sleep 300 & echo child >> ready) &
    (trap '' TERM; echo deaf >> ready; sleep 300; sleep 300) &
    timeout 300 sleep 300 &
    (setsid sh -c 'echo session >> ready; sleep 300; true') &
    echo self >> ready
    sleep 300
"""

MANY = """
+many:
  loop>: 20
  _parallel: true
  _do:
    sh>: "sleep 300 & echo ready >> ready; sleep 300"
"""


class GuardFaults(unittest.TestCase):

    def assert_nothing_left(self, run):
        gone = eventually(lambda: not run.processes())
        self.assertTrue(gone, 'left: %s\n%s' % (run.processes(), run.text()))

    # execution 32.74, decisions E-37
    def test_a_killed_run_leaves_no_process(self):
        with Run(FAMILY) as run:
            run.wait_for('ready', 4)
            run.process.kill()
            run.end()
            self.assert_nothing_left(run)

    def test_a_run_killed_at_any_moment_leaves_no_process(self):
        moments = random.Random(SEED)
        for _ in range(ROUNDS):
            with Run(MANY) as run:
                time.sleep(moments.uniform(0, 0.15))
                run.process.kill()
                run.end()
                self.assert_nothing_left(run)

    def test_the_next_run_removes_the_files_of_a_killed_one(self):
        with Run(SLEEPER) as run:
            run.wait_for('ready')
            run.process.kill()
            run.end()
            self.assert_nothing_left(run)
            self.assertTrue(os.listdir(run.path('.digdag/tmp')))
            with open(run.path('next.dig'), 'w') as out:
                out.write('+a:\n  echo>: x\n')
            self.assertEqual(run.start('next.dig').wait(timeout=60), 0, run.text())
            self.assertFalse(os.path.exists(run.path('.digdag/tmp')))

    def test_an_interrupted_run_stops_what_it_started(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name), Run(FAMILY, '-X', 'agent.kill-grace-time=1') as run:
                run.wait_for('ready', 4)
                run.process.send_signal(number)
                self.assertNotEqual(run.end(), 0)
                self.assert_nothing_left(run)
                self.assertNotIn('Success', run.text())
                self.assertFalse(os.path.exists(run.path('.digdag/tmp')), 'temporary files are left')

    def test_a_time_limit_reaches_all_that_the_task_started(self):
        with Run(FAMILY + '  _timeout: {limit: 5s, grace: 1s}\n') as run:
            self.assertEqual(run.end(), 1)
            self.assertIn('timed out', run.text())
            self.assert_nothing_left(run)

    def test_a_task_with_a_group_of_its_own_hears_an_interrupt(self):
        workflow = """
+a:
  sh>: timeout 300 sh -c 'trap "echo heard >> heard; exit" TERM; echo ready >> ready; while :; do sleep 0.05; done'
"""
        with Run(workflow) as run:
            run.wait_for('ready')
            run.process.send_signal(signal.SIGTERM)
            run.end()
            run.wait_for('heard')
            self.assert_nothing_left(run)

    def test_an_interrupted_task_may_clean_up(self):
        workflow = """
+task:
  sh>: |
    trap 'echo cleaned >> cleaned; exit 1' TERM
    echo ready >> ready
    while :; do sleep 0.05; done
"""
        with Run(workflow) as run:
            run.wait_for('ready')
            run.process.send_signal(signal.SIGINT)
            run.end()
            run.wait_for('cleaned')
            self.assert_nothing_left(run)

    def test_a_killed_guard_fails_its_tasks_and_the_next_ones_get_another(self):
        workflow = """
_error:
  sh>: echo "handled" >> handled
+family:
  sh>: |
    sleep 300 & echo ready >> ready
    sleep 300
"""
        with Run(workflow) as run:
            run.wait_for('ready')
            guards = run.processes('--guard')
            self.assertEqual(len(guards), 1)
            os.kill(guards[0], signal.SIGKILL)
            self.assertNotEqual(run.end(), 0)
            self.assertIn('guard process ended (signal 9)', run.text())
            run.wait_for('handled')
            self.assert_nothing_left(run)

    def test_a_run_whose_guard_is_suspended_can_be_interrupted(self):
        with Run(SLEEPER) as run:
            run.wait_for('ready')
            os.kill(run.processes('--guard')[0], signal.SIGSTOP)
            run.process.send_signal(signal.SIGTERM)
            self.assertEqual(run.end(), 143)
            self.assert_nothing_left(run)

    def test_a_daemon_that_a_task_left_on_purpose_survives_the_end_of_the_run(self):
        with Run('+a:\n  sh>: "sleep 300 > /dev/null 2>&1 & echo $! > pid"\n') as run:
            self.assertEqual(run.end(), 0, run.text())
            with open(run.path('pid')) as source:
                daemon = int(source.read())
            self.assertTrue(eventually(lambda: run.processes() == [daemon]), run.processes())

    def test_a_daemon_that_a_task_left_ends_with_a_killed_run(self):
        workflow = """
+a:
  sh>: "sleep 300 > /dev/null 2>&1 & echo $! > pid"
+b:
  sh>: "echo ready > ready; sleep 300"
"""
        with Run(workflow) as run:
            run.wait_for('ready')
            run.process.kill()
            run.end()
            self.assert_nothing_left(run)


if __name__ == '__main__':
    print('seed: %d' % SEED)
    unittest.main(verbosity=2)
