#!/usr/bin/env python3
"""What a server writes, where the original's tools would look for it: rows of its database (spec/server.md 10, 12) and files of task logs (15)."""
import gzip
import os
import sqlite3
import time
import unittest

from rest import ECHO, FAR, RestTest


class StoredRows(RestTest):
    def setUp(self):
        super().setUp()
        self.database = os.path.join(self.project, 'db')

    def rows(self, text):
        """Read beside the server that writes them."""
        with sqlite3.connect(f'file:{self.database}/digdag.sqlite?mode=ro', uri=True) as reader:
            return reader.execute(text).fetchall()

    def gated(self):
        """A task that says something, notes that it runs, and goes on until the gate is there."""
        return f'sh>: echo said; touch {self.project}/begun; until test -e {self.project}/gate; do sleep 0.05; done'

    # server 23.40, 23.44, 23.45, 23.64, 23.67, decisions R-30
    def test_a_task_is_in_the_queue_while_it_runs_and_in_the_archive_when_its_attempt_is_over(self):
        logs = os.path.join(self.project, 'logs')
        self.begin('-o', self.database, '-O', logs, '-X', 'agent.id=x')
        self.pushed({'w.dig': f'timezone: Asia/Tokyo\n+a:\n  {self.gated()}\n+b:\n  echo>: 1\n'})
        before = int(time.time())
        attempt = self.started('w')
        self.wait_for('the command', lambda: self.exists('begun'))
        [(task, agent, expires)] = self.rows('select unique_name, lock_agent_id, lock_expire_time from queued_tasks q join queued_task_locks l on l.id = q.id')
        self.assertEqual((task, agent), (self.tasks(attempt)[1]['id'], 'x'))
        self.assertTrue(before + 300 <= expires <= time.time() + 300, expires)
        self.assertEqual(self.get('/api/logs/1/files').json(), {'files': []}, 'files are complete when they are listed')
        self.file('gate', '')
        attempt = self.ended(attempt)
        for table in ('queued_tasks', 'queued_task_locks', 'tasks', 'task_details', 'task_state_details', 'task_dependencies'):
            self.assertEqual(self.rows(f'select * from {table}'), [], table)
        self.assertEqual(self.rows('select id from task_archives'), [(1,)])
        self.assertEqual(os.listdir(os.path.join(logs, attempt['createdAt'][:10])), ['0.1w@20260304T140000+0900'])
        files = self.get('/api/logs/1/files').json()['files']
        self.assertEqual([one['taskName'] for one in files], ['+w+a', '+w+b'])
        for one in files:
            self.assertRegex(one['fileName'], r'^\+w\+[ab]@[0-9a-f]{16}\.x\.log\.gz$')
            self.assertEqual(one['agentId'], 'x')
        with gzip.open(os.path.join(logs, attempt['createdAt'][:10], '0.1w@20260304T140000+0900', files[0]['fileName']), 'rt', encoding='utf-8') as log:
            self.assertRegex(log.read(), r'(?m)^said$')

    # server 23.39, 23.65
    def test_attempts_of_a_session_are_numbered_and_named(self):
        self.begin('-o', self.database, '-O', os.path.join(self.project, 'logs'))
        self.pushed({'w.dig': ECHO})
        for name in (None, 'again', 'and again'):
            attempt = self.ended(self.started('w', retryAttemptName=name))
        self.ended(self.started('w', '2026-03-05T05:00:00Z'))
        self.assertEqual(self.rows('select strftime("%d", session_time, "unixepoch"), attempt_name, "index" from session_attempts a '
                                   'join sessions s on s.id = a.session_id order by a.id'),
                         [('04', '', 1), ('04', 'again', 2), ('04', 'and again', 3), ('05', '', 1)])
        self.assertEqual(sorted(os.listdir(os.path.join(self.project, 'logs', attempt['createdAt'][:10]))),
                         ['0.1w@20260304T050000+0000', '0.1w@20260304T050000+0000_again', '0.1w@20260304T050000+0000_and again', '0.1w@20260305T050000+0000'])

    # server 23.41
    def test_flags_say_how_an_attempt_ended(self):
        self.begin('-o', self.database)
        self.pushed({'killed.dig': f'+a:\n  {self.gated()}\n', 'good.dig': ECHO, 'bad.dig': '+a:\n  fail>: on purpose\n'})
        killed = self.started('killed')
        self.wait_for('the command', lambda: self.exists('begun'))
        flags = lambda: dict(self.rows('select d.name, a.state_flags from session_attempts a join workflow_definitions d '  # noqa: E731
                                       'on d.id = a.workflow_definition_id'))
        self.assertEqual(flags(), {'killed': 0})
        self.assertEqual(self.one.send('POST', f'/api/attempts/{killed["id"]}/kill', {}).status, 200)
        for attempt in (killed, self.started('good'), self.started('bad')):
            self.ended(attempt)
        self.assertEqual(flags(), {'killed': 3, 'good': 6, 'bad': 2})

    # server 23.38, 23.43
    def test_projects_that_were_pushed_again_and_deleted(self):
        self.begin('-o', self.database)
        daily = 'schedule:\n  daily>: 00:00:00\n' + ECHO
        self.pushed({'w.dig': daily}, schedule_from=FAR)
        self.pushed({'w.dig': daily}, revision='r2', schedule_from=FAR)
        self.assertEqual(self.rows('select count(*), count(distinct config_id) from workflow_definitions'), [(2, 1)])
        self.assertEqual(self.one.ask('DELETE', '/api/projects/1').status, 200)
        self.assertEqual(self.rows('select name, deleted_name, deleted_at is not null from projects'), [(None, 'p', 1)])
        self.assertEqual(self.rows('select * from schedules'), [])
        self.assertEqual(self.pushed({'w.dig': ECHO})['id'], '2')

    # server 23.62
    def test_an_archive_that_was_lost_is_not_found(self):
        self.begin('-o', self.database)
        self.pushed({'w.dig': ECHO})
        self.one.end()
        with sqlite3.connect(f'{self.database}/digdag.sqlite') as writer:
            writer.execute('delete from revision_archives')
        self.begin('-o', self.database)
        self.refused(self.get('/api/projects/1/archive'), 404, 'rchive')


if __name__ == '__main__':
    unittest.main()
