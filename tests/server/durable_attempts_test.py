#!/usr/bin/env python3
"""What the database keeps of attempts: while they run, when the server is killed or told to end, and when they are done (spec/execution.md 15, 28)."""
import json
import os
import signal
import sqlite3
import unittest

from on_postgresql import archive
from running import ServerTest


class DurableAttempts(ServerTest):
    def setUp(self):
        super().setUp()
        self.gate = os.path.join(self.project, 'gate')

    def one(self, *words):
        return self.server('-o', 'data', '-L', os.path.join(self.project, 'log'), *words)

    def push(self, server, more='', **files):
        answer = server.ask('PUT', '/api/projects?project=p&revision=r' + more, archive(**files), {'Content-Type': 'application/gzip'})
        self.assertEqual(answer.status, 200, answer.body)
        self.project_id = answer.json()['id']
        self.ids = {workflow['name']: workflow['id'] for workflow in server.get('/api/workflows').json()['workflows']}

    def put(self, server, workflow, second=0):
        answer = server.send('PUT', '/api/attempts', {'workflowId': self.ids[workflow], 'sessionTime': f'2026-01-02T00:00:{second:02}Z', 'params': {}})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()['id']

    def status(self, server, attempt):
        return server.get(f'/api/attempts/{attempt}').json()['status']

    def end_of(self, server, attempt, status):
        self.wait_for(f'{status} of attempt {attempt}', lambda: self.status(server, attempt) == status)

    def tasks(self, server, attempt):
        return server.get(f'/api/attempts/{attempt}/tasks').json()['tasks']

    def gated(self, name):
        """A task that notes its name and runs until the gate is there."""
        return f'+{name}:\n  sh>: echo {name}-${{session_unixtime % 60}} >> {self.project}/ran; until test -e {self.gate}; do sleep 0.05; done\n'

    def ran(self):
        return self.content('ran').split() if self.exists('ran') else []

    def rows(self, query):
        """Of the database of a server that has ended."""
        with sqlite3.connect(os.path.join(self.project, 'data', 'digdag.sqlite')) as database:
            return database.execute(query).fetchall()

    # execution 32.73, 32.104
    def test_what_was_answered_outlives_a_kill_at_that_moment(self):
        server = self.one()
        self.push(server, w=self.gated('a') + '+b:\n  sh>: echo b-${session_unixtime % 60} >> ' + self.project + '/ran\n')
        begun = self.put(server, 'w', 0)
        self.wait_for('the command', lambda: self.ran() == ['a-0'])
        answered = [begun] + [self.put(server, 'w', second) for second in range(1, 6)]
        server.process.kill()
        server.process.wait()
        self.file('gate', '')
        server = self.one()
        for attempt in answered:
            self.end_of(server, attempt, 'success')
        self.assertEqual(sorted(name for name in self.ran() if name.startswith('b')), [f'b-{second}' for second in range(6)])
        self.assertEqual(self.ran().count('a-0'), 2, 'what ran at the kill runs again')

    # execution 32.79
    def test_sigterm_waits_for_the_task_that_runs_and_begins_no_other(self):
        server = self.one('-X', 'queue.db.max_concurrency=1')
        self.push(server, w=self.gated('a') + '+b:\n  sh>: echo b-${session_unixtime % 60} >> ' + self.project + '/ran\n')
        attempts = [self.put(server, 'w', second) for second in (0, 1)]
        self.wait_for('the command', lambda: self.ran() == ['a-0'])
        server.process.send_signal(signal.SIGTERM)
        self.wait_for('the shutdown', lambda: 'Waiting for completion of 1 running tasks' in self.content('log'))
        self.file('gate', '')
        server.process.communicate(timeout=60)
        self.assertEqual((server.process.returncode, self.ran()), (143, ['a-0']))
        server = self.one()
        for attempt in attempts:
            self.end_of(server, attempt, 'success')
        self.assertEqual(sorted(self.ran()), ['a-0', 'a-1', 'b-0', 'b-1'], 'each has run once')

    # execution 32.80, 32.81, 32.107
    def test_of_an_attempt_that_is_done_the_archive_is_left(self):
        server = self.one('-X', 'agent.kill-grace-time=0')
        self.push(server, good=self.gated('a') + '+b:\n  loop>: 2\n  _do:\n    echo>: ${i}\n', bad='+a:\n  fail>: on purpose\n',
                  endless=f'+a:\n  sh>: touch {self.project}/begun; exec sleep 600\n')
        good, bad, killed = (self.put(server, workflow) for workflow in ('good', 'bad', 'endless'))
        self.wait_for('both commands', lambda: self.exists('ran') and self.exists('begun'))
        known = ('id', 'fullName', 'parentId', 'config', 'upstreams', 'isGroup')
        live = [{key: task[key] for key in known} for task in self.tasks(server, good)]
        self.file('gate', '')
        self.assertEqual(server.send('POST', f'/api/attempts/{killed}/kill', {}).status, 200)
        for attempt, status in ((good, 'success'), (bad, 'error'), (killed, 'killed')):
            self.end_of(server, attempt, status)
        archived = self.tasks(server, good)
        self.assertEqual([{key: task[key] for key in known} for task in archived][:len(live)], live)
        self.assertEqual([task['fullName'] for task in archived], ['+good', '+good+a', '+good+b', '+good+b^sub', '+good+b^sub+loop-0', '+good+b^sub+loop-1'])
        server.end()
        for table in ('tasks', 'task_details', 'task_state_details', 'task_dependencies', 'resuming_tasks', 'queued_tasks'):
            self.assertEqual(self.rows(f'select * from {table}'), [], table)
        self.assertEqual(self.rows('select id, state_flags from session_attempts order by id'), [(int(good), 6), (int(bad), 2), (int(killed), 3)])
        stored = self.rows('select id, tasks from task_archives order by id')
        self.assertEqual([row[0] for row in stored], [int(good), int(bad), int(killed)])
        self.assertEqual(list(json.loads(stored[0][1])[0]), [
            'subtaskConfig', 'exportParams', 'resetStoreParams', 'storeParams', 'report', 'error', 'resumingTaskId', 'id', 'attemptId', 'upstreams',
            'updatedAt', 'retryAt', 'startedAt', 'stateParams', 'retryCount', 'parentId', 'fullName', 'config', 'taskType', 'state', 'stateFlags'])

    # execution 32.100 as decisions R-06 has it: nothing is left running because its project is gone
    def test_a_running_attempt_goes_on_when_its_project_is_deleted(self):
        server = self.one()
        self.push(server, w=self.gated('a') + '+b:\n  sh>: test -e w.dig\n')
        attempt = self.put(server, 'w')
        self.wait_for('the command', lambda: self.ran() == ['a-0'])
        self.assertEqual(server.ask('DELETE', f'/api/projects/{self.project_id}').status, 200)
        self.file('gate', '')
        self.end_of(server, attempt, 'success')

    # scheduling 14.55
    def test_a_server_that_starts_no_sessions_leaves_schedules_and_backfills_to_the_next_one(self):
        server = self.one('-X', 'schedule.enabled=false')
        self.push(server, '&schedule_from=2026-01-01T00:00:00Z', w='schedule:\n  daily>: 00:00:00\n  end: 2026-01-02\n+a:\n  echo>: x\n',
                  other='+a:\n  echo>: x\n')
        schedule = server.get('/api/schedules').json()['schedules'][0]['id']
        backfill = server.send('POST', f'/api/schedules/{schedule}/backfill',
                               {'fromTime': '2025-12-30T00:00:00Z', 'attemptName': 'b', 'count': 2, 'dryRun': False})
        self.assertEqual(backfill.status, 200, backfill.body)
        self.end_of(server, self.put(server, 'other'), 'success')
        delayed = [attempt['id'] for attempt in backfill.json()['attempts']]
        self.assertEqual([(self.status(server, attempt), self.tasks(server, attempt)) for attempt in delayed], [('running', [])] * 2)
        self.assertEqual(len(server.get('/api/sessions').json()['sessions']), 3, 'those of the backfill and the one by hand')
        server.end()
        server = self.one()
        self.wait_for('the sessions of the schedule', lambda: len(server.get('/api/sessions').json()['sessions']) == 5)
        for attempt in delayed:
            self.end_of(server, attempt, 'success')


if __name__ == '__main__':
    unittest.main()
