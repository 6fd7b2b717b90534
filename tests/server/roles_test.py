#!/usr/bin/env python3
"""What a server does of its work, and what of it is left to others: executor, agent, scheduler (spec/server.md 2)."""
import os
import unittest

from rest import ECHO, RestTest

# Two sessions are due as soon as it is pushed.
DUE = "schedule:\n  daily>: 00:00:00\n  end: 2026-01-02\n"


class RolesTest(RestTest):
    def setUp(self):
        super().setUp()
        self.database = os.path.join(self.project, 'db')

    def metric(self, name):
        lines = self.one.get('/metrics', port=self.one.admin_port).body.decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ' '))

    def sessions(self, workflow):
        return [one['sessionTime'][:10] for one in self.get('/api/projects/1/sessions', workflow=workflow).json()['sessions']]

    def begin(self, *words):
        self.one = self.server(*words, admin=True)

    def noting(self):
        return f'sh>: echo ${{task_name}} >> {self.project}/ran; until test -e {self.project}/gate; do sleep 0.05; done'

    def ran(self):
        return self.content('ran').split() if self.exists('ran') else []


class Roles(RolesTest):
    # server 23.48: the others wait in the queue; that agents of other servers take them from there comes with distributed agents
    def test_no_more_tasks_run_at_once_than_there_are_threads(self):
        self.begin('-m', '--max-task-threads', '2')
        self.pushed({'w.dig': '_parallel: true\n' + ''.join(f'+{name}:\n  {self.noting()}\n' for name in 'abcd')})
        attempt = self.started('w')
        self.wait_for('two that wait', lambda: self.metric('digdag_tasks_waiting') == 2 and len(self.ran()) == 2)
        self.assertEqual(self.metric('digdag_tasks_running'), 2)
        self.assertEqual(len(self.ran()), 2)
        self.file('gate', '')
        self.assertEqual(self.ended(attempt)['status'], 'success')
        self.assertEqual(len(self.ran()), 4)

    # server 23.49
    def test_without_an_agent_tasks_wait_for_the_next_server(self):
        self.begin('-o', self.database, '--disable-local-agent')
        self.pushed({'w.dig': ECHO})
        attempt = self.started('w')
        self.wait_for('the task', lambda: self.metric('digdag_tasks_waiting') == 1)
        self.assertEqual([self.metric('digdag_tasks_running'), self.get('/api/attempts/1').json()['status']], [0, 'running'])
        self.one.end()
        self.begin('-o', self.database)
        self.assertEqual(self.ended(attempt)['status'], 'success')

    # server 23.50
    def test_without_an_executor_attempts_and_schedules_start_and_stand_still(self):
        self.begin('-m', '--disable-executor-loop')
        self.pushed({'w.dig': ECHO, 'due.dig': DUE + ECHO}, schedule_from='2026-01-01T00:00:00Z')
        attempt = self.started('w')
        self.wait_for('the schedule', lambda: self.sessions('due') == ['2026-01-02', '2026-01-01'])
        self.assertEqual(self.get(f'/api/attempts/{attempt["id"]}').json()['status'], 'running')
        self.assertEqual({task['startedAt'] for task in self.tasks(attempt)}, {None})

    # server 23.51
    def test_without_a_scheduler_sessions_start_by_hand_alone(self):
        self.begin('-m', '--disable-scheduler')
        self.pushed({'w.dig': ECHO, 'due.dig': DUE.replace('  end: 2026-01-02\n', '') + ECHO}, schedule_from='2026-01-02T00:00:00Z')
        self.assertEqual(self.ended(self.started('w'))['status'], 'success')
        self.assertEqual(self.sessions('due'), [])
        skipped = self.one.send('POST', '/api/schedules/1/skip', {'nextTime': '2026-01-03T00:00:00Z', 'dryRun': False})
        self.assertEqual((skipped.status, skipped.json()['nextScheduleTime']), (200, '2026-01-03T00:00:00+00:00'))
        filled = self.one.send('POST', '/api/schedules/1/backfill', {'fromTime': '2026-01-02T00:00:00Z', 'dryRun': False, 'attemptName': 'b'})
        self.assertEqual([one['sessionTime'][:10] for one in filled.json()['attempts']], ['2026-01-02'])
        self.assertEqual(self.sessions('due'), ['2026-01-02'])
        self.assertEqual(self.tasks(filled.json()['attempts'][0]), [], 'it waits for a server that starts sessions')


class ShuttingDown(RolesTest):
    # server 23.68, 23.69
    def test_a_task_that_runs_is_waited_for_and_nothing_new_is_begun(self):
        log = os.path.join(self.project, 'log')
        self.begin('-o', self.database, '-L', log)
        self.pushed({'w.dig': f'+a:\n  {self.noting()}\n+b:\n  sh>: echo b >> {self.project}/ran\n'})
        attempt = self.started('w')
        self.wait_for('the task', lambda: self.ran() == ['+w+a'])
        self.one.process.terminate()
        self.wait_for('the shutdown', lambda: 'Waiting for completion of 1 running tasks...' in self.content('log'))
        self.assertEqual(self.get('/api/version').status, 200)
        self.assertEqual(self.get(f'/api/attempts/{attempt["id"]}').json()['status'], 'running')
        self.file('gate', '')
        self.assertEqual(self.one.process.wait(timeout=60), 143)
        self.assertEqual(self.ran(), ['+w+a'])
        self.begin('-o', self.database)
        self.assertEqual(self.ended(attempt)['status'], 'success')
        self.assertEqual(self.ran(), ['+w+a', 'b'], 'what had succeeded did not run again')


if __name__ == '__main__':
    unittest.main()
