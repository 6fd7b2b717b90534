#!/usr/bin/env python3
"""`trigger:`: a workflow that starts when another one has succeeded (spec/decisions.md S-40)."""
import os
import sqlite3
import unittest
import urllib.parse

from on_postgresql import PostgresqlServerTest, archive
from running import ServerTest


def after(workflow, task='echo>: x', project=None):
    more = f', dependent_project_name: {project}' if project else ''
    return f'trigger: {{attempt>: , dependent_workflow_name: {workflow}{more}}}\n+a:\n  {task}\n'


def push(server, project='p', revision='r', **files):
    words = urllib.parse.urlencode({'project': project, 'revision': revision})
    return server.ask('PUT', '/api/projects?' + words, archive(**files), {'Content-Type': 'application/gzip'})


def start(server, workflow, day=1):
    ids = {one['name']: one['id'] for one in server.get('/api/workflows').json()['workflows']}
    answer = server.send('PUT', '/api/attempts', {'workflowId': ids[workflow], 'sessionTime': f'2026-01-{day:02}T00:00:00Z', 'params': {'given': 1}})
    return answer.json()['id']


def attempts(server):
    """All, the oldest first: `workflow day status`."""
    found = server.get('/api/attempts?include_retried=true').json()['attempts']
    return [f'{one["workflow"]["name"]} {one["sessionTime"][8:10]} {one["status"]}' for one in reversed(found)]


class Triggers(ServerTest):
    # decisions S-40
    def test_a_chain_of_workflows_runs_one_after_the_other_for_the_same_session(self):
        server = self.server()
        self.assertEqual(push(server, a='+a:\n  echo>: 1\n', b=after('a')).status, 200)
        self.assertEqual(push(server, 'other', c=after('b', project='p')).status, 200)
        start(server, 'a', 7)
        self.wait_for('all three', lambda: attempts(server) == ['a 07 success', 'b 07 success', 'c 07 success'])
        self.assertEqual([one['params'] for one in server.get('/api/attempts').json()['attempts']], [{}, {}, {'given': 1}])

    # decisions S-40
    def test_a_failure_starts_nothing_and_a_retry_that_succeeds_does(self):
        server = self.server()
        gate = os.path.join(self.project, 'gate')
        push(server, a=f'+a:\n  sh>: test -e {gate}\n', b=after('a'), other='+a:\n  echo>: 1\n', last=after('other'))
        failed = start(server, 'a')
        self.wait_for('the failure', lambda: attempts(server) == ['a 01 error'])
        # What is started later is started after what was owed before.
        start(server, 'other')
        self.wait_for('the others', lambda: attempts(server)[1:] == ['other 01 success', 'last 01 success'])
        self.file('gate', '')
        workflow = server.get(f'/api/attempts/{failed}').json()['workflow']['id']
        server.send('PUT', '/api/attempts', {'workflowId': workflow, 'sessionTime': '2026-01-01T00:00:00Z', 'params': {}, 'retryAttemptName': 'again'})
        self.wait_for('the end', lambda: attempts(server)[3:] == ['a 01 success', 'b 01 success'])

    # decisions S-40
    def test_a_push_says_what_is_wrong_with_a_trigger(self):
        server = self.server()
        for text, why in ((after('a', project='nowhere'), "Dependent project 'nowhere' not found in trigger config (of workflow 'b')"),
                          (after('b'), 'The triggers of workflows form a cycle: p/b starts after p/b')):
            answer = push(server, b=text)
            self.assertEqual((answer.status, answer.message), (400, why))
        for text, why in (('trigger: {attempt>: now, dependent_workflow_name: a}\n', 'trigger needs `attempt>:` without a value'),
                          ('trigger: {attempt>: }\n', 'trigger needs dependent_workflow_name'),
                          ('trigger: {attempt>: , dependent_workflow_name: a, project: q}\n', "trigger includes unknown keys: 'project'")):
            answer = push(server, b=text)
            self.assertEqual(answer.status, 400)
            self.assertIn(why, answer.message)
        self.assertEqual(server.get('/api/projects').json()['projects'], [])

    # decisions S-40
    def test_what_a_killed_server_owed_is_started_once_by_the_next_one(self):
        directory = os.path.join(self.project, 'database')
        server = self.server('-o', directory, '--disable-scheduler')
        push(server, a='+a:\n  echo>: 1\n', b=after('a'))
        start(server, 'a')
        self.wait_for('the success', lambda: attempts(server) == ['a 01 success'])
        server.process.kill()
        server.process.wait()
        server = self.server('-o', directory)
        self.wait_for('the start', lambda: attempts(server) == ['a 01 success', 'b 01 success'])
        server.process.kill()
        server.process.wait()
        with sqlite3.connect(os.path.join(directory, 'digdag.sqlite')) as database:
            self.assertEqual(database.execute('select * from digdag_native_triggered_starts').fetchall(), [], 'nothing is owed any more')

    # decisions S-40
    def test_the_local_project_of_a_scheduler_has_triggers(self):
        self.file('a.dig', '+a:\n  echo>: 1\n')
        self.file('b.dig', after('a'))
        server = self.server('--project', self.project, command='scheduler')
        start(server, 'a')
        self.wait_for('both', lambda: attempts(server) == ['a 01 success', 'b 01 success'])


class TriggersOfTwoServers(PostgresqlServerTest):
    # decisions S-40
    def test_each_start_is_made_once_whoever_ran_what_it_follows(self):
        servers = self.one(), self.one()
        push(servers[0], a='+a:\n  echo>: 1\n', b=after('a'), c=after('b'))
        for day in range(1, 11):
            start(servers[day % 2], 'a', day)
        expected = sorted(f'{name} {day:02} success' for name in 'abc' for day in range(1, 11))
        self.wait_for('all', lambda: sorted(attempts(servers[0])) == expected)
        self.assertEqual(self.sql('select count(*) from digdag_native_triggered_starts'), '0')

    # decisions S-40
    def test_a_server_that_starts_no_sessions_leaves_them_to_one_that_does(self):
        worker, scheduler = self.one('--disable-scheduler'), self.one('--disable-executor-loop', '--disable-local-agent')
        push(worker, a='+a:\n  echo>: 1\n', b=after('a'))
        start(worker, 'a')
        self.wait_for('both', lambda: attempts(worker) == ['a 01 success', 'b 01 success'])


if __name__ == '__main__':
    unittest.main()
