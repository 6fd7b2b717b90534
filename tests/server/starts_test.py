#!/usr/bin/env python3
"""How much a server runs at once: attempts of a site (spec/decisions.md E-61) and of a workflow (E-62), their size, tasks of a site (E-46)."""
import concurrent.futures
import json
import os
import re
import signal
import unittest

from running import ServerTest


class Starts(ServerTest):
    def setUp(self):
        super().setUp()
        self.gate = os.path.join(self.project, 'gate')

    def pushed(self, settings='', words=(), **workflows):
        server = self.server(*self.config('database.type = memory\n' + settings), *words, admin=True)
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        for name, text in workflows.items():
            self.file(f'p/{name}.dig', text)
        done = self.digdag('push', 'p', '--project', 'p', '-r', '1')
        self.assertEqual(done.code, 0, done.err)
        self.ids = {workflow['name']: workflow['id'] for workflow in server.get('/api/workflows').json()['workflows']}
        return server

    def gated(self, concurrency):
        """A workflow that notes its session and runs until the gate is there."""
        noted = os.path.join(self.project, 'noted')
        return (f'_concurrency: {concurrency}\n+a:\n  sh>: echo ${{session_date}} >> {noted}; while [ ! -e {self.gate} ]; do sleep 0.05; done\n')

    def noted(self):
        return self.content('noted').split() if self.exists('noted') else []

    def put(self, server, day, workflow='w', **more):
        return server.send('PUT', '/api/attempts', {'workflowId': self.ids[workflow], 'sessionTime': f'2026-01-{day:02}T00:00:00Z', 'params': {}, **more})

    def status(self, server, attempt):
        return server.get(f'/api/attempts/{attempt}').json()['status']

    def open_gate(self):
        self.file('gate', '')

    # server 3.3
    def test_default_parameters_lie_below_all_others(self):
        shown = os.path.join(self.project, 'shown')
        server = self.pushed('digdag.defaultParams = {"region": "north", "db": {"host": "a", "port": 1}}\n',
                             w='_export: {db: {host: b}}\n+a:\n  sh>: echo ${region} ${db.host} ${db.port} > ' + shown + '\n')
        attempt = self.put(server, 1).json()['id']
        self.wait_for('the end', lambda: self.status(server, attempt) == 'success')
        self.assertEqual(self.content('shown'), 'north b 1\n')

    # server 23.13, 23.14
    def test_default_parameters_come_from_options_before_a_file_before_the_configuration(self):
        self.file('params.yml', 'a: {b: file, c: file}\n')
        shown = os.path.join(self.project, 'shown')
        server = self.pushed(''.join(f'params.a.{name} = key\n' for name in 'bcd'), words=('-P', 'params.yml', '-p', 'a.b=1'),
                             w='+a:\n  sh>: echo ${a.b} ${a.c} ${a.d} >> ' + shown + '\n')
        for params in ({}, {'a': {'c': 'given'}}):
            attempt = self.put(server, 1 + len(params), params=params).json()['id']
            self.wait_for('the end', lambda attempt=attempt: self.status(server, attempt) == 'success')
        self.assertEqual(self.content('shown'), '1 file key\n1 given key\n')

    # decisions R-33, server 20
    def test_a_server_that_waits_for_its_tasks_answers_but_is_not_ready(self):
        server = self.pushed(w=self.gated(1))
        self.put(server, 1)
        self.wait_for('the task', lambda: self.noted())
        self.assertEqual(server.get('/api/ready').status, 200)
        server.process.send_signal(signal.SIGTERM)
        self.wait_for('the shutdown', lambda: server.get('/api/ready').status == 503)
        self.assertEqual(server.get('/api/version').status, 200)
        self.open_gate()
        self.assertEqual(server.process.wait(timeout=60), 143)

    # decisions E-62
    def test_more_than_the_limit_wait_and_start_in_the_order_of_their_session_times(self):
        server = self.pushed(w=self.gated(1))
        ids = [self.put(server, day).json()['id'] for day in (5, 4, 2)]
        self.wait_for('the first', lambda: self.noted() == ['2026-01-05'])
        self.assertEqual([self.status(server, attempt) for attempt in ids], ['running'] * 3)
        self.assertEqual(server.get(f'/api/attempts/{ids[1]}/tasks').json(), {'tasks': []})
        self.open_gate()
        for attempt in ids:
            self.wait_for('the end', lambda attempt=attempt: self.status(server, attempt) == 'success')
        self.assertEqual(self.noted(), ['2026-01-05', '2026-01-02', '2026-01-04'])

    # decisions E-62
    def test_one_that_waits_can_be_killed(self):
        server = self.pushed(w=self.gated(1))
        ids = [self.put(server, day).json()['id'] for day in (1, 2, 3)]
        self.assertEqual(server.send('POST', f'/api/attempts/{ids[1]}/kill', {}).status, 200)
        self.assertEqual(self.status(server, ids[1]), 'killed')
        self.open_gate()
        self.wait_for('the third', lambda: self.status(server, ids[2]) == 'success')
        self.assertEqual(self.noted(), ['2026-01-01', '2026-01-03'])

    # decisions E-62
    def test_a_resume_that_waits_keeps_what_it_took_over(self):
        noted = os.path.join(self.project, 'noted')
        server = self.pushed(w=f'_concurrency: 1\n+a:\n  sh>: echo ${{session_date}} >> {noted}\n'
                               f'+b:\n  sh>: test ${{session_date}} = 2026-01-02 || exit 1; while [ ! -e {self.gate} ]; do sleep 0.05; done\n')
        failed = self.put(server, 1).json()['id']
        self.wait_for('the failure', lambda: self.status(server, failed) == 'error')
        self.put(server, 2)
        self.wait_for('the second', lambda: self.noted() == ['2026-01-01', '2026-01-02'])
        again = self.put(server, 1, retryAttemptName='again', resume={'mode': 'failed', 'attemptId': failed}).json()['id']
        self.assertEqual(server.get(f'/api/attempts/{again}/tasks').json(), {'tasks': []})
        self.open_gate()
        self.wait_for('the end', lambda: self.status(server, again) == 'error')
        self.assertEqual(self.noted(), ['2026-01-01', '2026-01-02'], '+a was not run again')

    # decisions E-62
    def test_skip_answers_with_the_attempt_that_runs(self):
        server = self.pushed(w=self.gated('{limit: 1, on_limit: skip}'))
        first = self.put(server, 1).json()['id']
        answer = self.put(server, 2)
        self.assertEqual((answer.status, answer.json()['id']), (409, first))
        self.assertEqual(len(server.get('/api/sessions').json()['sessions']), 1, 'nothing is left behind')
        self.open_gate()
        self.wait_for('the end', lambda: self.status(server, first) == 'success')
        self.assertEqual(self.put(server, 2).status, 200)

    # decisions E-62
    def test_fail_refuses_and_retries_count(self):
        server = self.pushed(w=self.gated('{limit: 2, on_limit: fail}'))
        first = self.put(server, 1).json()['id']
        self.assertEqual(self.put(server, 1, retryAttemptName='again').status, 200)
        answer = self.put(server, 2)
        self.assertEqual(answer.status, 400)
        self.assertIn("Workflow 'w' runs already", answer.message)
        self.assertEqual(len(server.get('/api/sessions').json()['sessions']), 1, 'nothing is left behind')
        self.open_gate()
        self.wait_for('the end', lambda: self.status(server, first) == 'success')

    # decisions E-62
    def test_the_limit_holds_for_starts_at_the_same_time(self):
        server = self.pushed(w=self.gated('{limit: 3, on_limit: fail}'))
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda day: self.put(server, day).status, range(1, 29)))
        self.assertEqual((answers.count(200), answers.count(400)), (3, 25))
        self.open_gate()

    # decisions S-18
    def test_a_push_tells_how_many_missed_sessions_start(self):
        self.pushed(w='schedule:\n  daily>: 00:00:00\n  start: 2026-01-01\n  end: 2026-01-03\n+a:\n  echo>: 1\n')
        done = self.digdag('push', 'p', '--project', 'p', '-r', '2', '--schedule-from', '2026-01-01 00:00:00 +0000')
        self.assertEqual((done.code, done.err.splitlines()[-1:]), (0, ['3 missed sessions will start now']))
        done = self.digdag('push', 'p', '--project', 'p', '-r', '3')
        self.assertNotIn('missed sessions', done.err)

    # execution 32.31, decisions E-61, rest-api 18.75, server 23.54
    def test_the_limit_of_a_site_is_exact_for_starts_at_the_same_time(self):
        server = self.pushed('executor.attempt_max_run = 10\n', w=self.gated(1).split('\n', 1)[1])
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda i: self.put(server, i % 28 + 1, retryAttemptName=f'a{i}'), range(50)))
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 10 + [400] * 40)
        self.assertEqual({answer.message for answer in answers if answer.status == 400}, {'Too many attempts running. Limit: 10, Current: 10'})
        self.open_gate()

    # decisions E-61
    def test_what_waits_does_not_count(self):
        server = self.pushed('executor.attempt_max_run = 2\n', w=self.gated(1), other='+a:\n  echo>: x\n')
        for day in (1, 2, 3, 4):
            self.assertEqual(self.put(server, day).status, 200, day)
        self.assertEqual(self.put(server, 1, 'other').status, 200)
        self.open_gate()

    def metric(self, server, name):
        return re.search(rf'^{name} (\d+)$', server.get('/metrics', port=server.admin_port).body.decode(), re.M).group(1)

    # server 23.47, decisions E-46
    def test_tasks_beyond_the_limit_of_a_site_wait(self):
        server = self.pushed('queue.db.max_concurrency = 1\n', w=self.gated(9).split('\n', 1)[1])
        ids = [self.put(server, day).json()['id'] for day in (1, 2, 3)]
        self.wait_for('the first', lambda: self.noted() == ['2026-01-01'])
        self.wait_for('the others in the line', lambda: self.metric(server, 'digdag_tasks_waiting') == '2')
        self.assertEqual(self.metric(server, 'digdag_tasks_running'), '1')
        self.assertEqual(self.noted(), ['2026-01-01'])
        self.open_gate()
        for attempt in ids:
            self.wait_for('the end', lambda attempt=attempt: self.status(server, attempt) == 'success')
        self.assertEqual(self.noted(), ['2026-01-01', '2026-01-02', '2026-01-03'])

    # server 23.47
    def test_a_limit_below_one_is_refused(self):
        done = self.digdag('server', *self.config('database.type = memory\nqueue.db.max_concurrency = 0\n'), '-n', '0')
        self.assertEqual(done.code, 1)
        self.assertIn("'queue.db.max_concurrency' must be at least 1, but it is 0", done.err)

    def test_tasks_of_a_site_that_is_not_served_wait_in_the_queue(self):
        server = self.pushed('agent.account_routing.enabled = true\nagent.account_routing.exclude = 0\n', w='+a:\n  echo>: x\n')
        attempt = self.put(server, 1).json()['id']
        self.wait_for('the run', lambda: self.metric(server, 'digdag_tasks_waiting') == '1')
        self.assertEqual([task['state'] for task in server.get(f'/api/attempts/{attempt}/tasks').json()['tasks']], ['planned', 'running'])
        self.assertEqual(self.metric(server, 'digdag_tasks_running'), '0')
        self.assertEqual(server.send('POST', f'/api/attempts/{attempt}/kill', {}).status, 200)
        self.wait_for('the kill', lambda: self.status(server, attempt) == 'killed')

    # server 23.55
    def test_a_workflow_of_too_many_tasks_is_refused_at_its_start(self):
        server = self.pushed('executor.task_max_run = 3\n', w='+a:\n  echo>: 1\n+b:\n  echo>: 2\n+c:\n  echo>: 3\n')
        answer = self.put(server, 1)
        self.assertEqual(answer.status, 400)
        self.assertRegex(answer.message, r'Too many tasks\. Limit: 3, Current: \d')
        self.assertEqual(server.get('/api/sessions').json()['sessions'], [])

    # execution 32.54, decisions E-25
    def test_a_resume_names_what_is_wrong_with_its_source(self):
        server = self.pushed(w='+a:\n  echo>: 1\n', other='+a:\n  fail>: on purpose\n')
        source = self.put(server, 1, 'other').json()['id']
        for attempt, status, text in ((9999, 404, 'Resource does not exist: session attempt id=9999'), (source, 400, "another workflow ('other' of project 'p')")):
            answer = self.put(server, 2, resume={'mode': 'failed', 'attemptId': str(attempt)})
            self.assertEqual(answer.status, status)
            self.assertIn(text, answer.message)
        self.wait_for('the end', lambda: self.status(server, source) == 'error')
        answer = self.put(server, 3, 'other', resume={'mode': 'failed', 'attemptId': source})
        self.assertEqual(answer.status, 200, answer.body)
        other = answer.json()['id']
        self.wait_for('the end', lambda: self.status(server, other) == 'error')
        self.assertIn(f'Attempt {other} resumes attempt {source}; that one is of another session: 2026-01-01T00:00:00+00:00\n', server.end()[1])

    # decisions E-29
    def test_a_resume_of_what_still_runs_is_told_and_runs_what_is_not_done(self):
        server = self.pushed(w='+first:\n  echo>: 1\n' + self.gated(9).split('\n', 1)[1])
        source = self.put(server, 1).json()['id']
        self.wait_for('the first', lambda: self.noted() == ['2026-01-01'])
        again = self.put(server, 1, retryAttemptName='again', resume={'mode': 'failed', 'attemptId': source}).json()['id']
        self.wait_for('the second', lambda: self.noted() == ['2026-01-01'] * 2)
        self.open_gate()
        for attempt in (source, again):
            self.wait_for('the end', lambda attempt=attempt: self.status(server, attempt) == 'success')
        started = {task['fullName']: task['startedAt'] for task in server.get(f'/api/attempts/{again}/tasks').json()['tasks']}
        self.assertIsNone(started['+w+first'], 'it was taken over')
        self.assertIn(f'Attempt {again} resumes attempt {source}; that one still runs', server.end()[1])

    # execution 32.49, 32.50, 32.51, 32.52, decisions E-27, E-28
    def test_a_resume_that_is_not_possible_is_refused_with_the_reason(self):
        server = self.pushed(good='+a:\n  echo>: 1\n', bad='+a:\n  fail>: on purpose\n+z:\n  echo>: 1\n')
        good, bad = (self.put(server, 1, workflow).json()['id'] for workflow in ('good', 'bad'))
        for attempt, status in ((good, 'success'), (bad, 'error')):
            self.wait_for('the end', lambda attempt=attempt, status=status: self.status(server, attempt) == status)
        failed = next(task['id'] for task in server.get(f'/api/attempts/{bad}/tasks').json()['tasks'] if task['fullName'] == '+bad+a')
        for workflow, resume, text in (
                ('bad', {'mode': 'from', 'attemptId': bad, 'from': '+z'}, f'Resuming non-successful tasks is not allowed: task_id={failed}'),
                ('good', {'mode': 'failed', 'attemptId': good}, 'Resuming successfully completed attempts is not supported'),
                ('bad', {'mode': 'from', 'attemptId': bad, 'from': '+nope'}, "Task pattern '+nope' doesn't match with any tasks."),
                ('bad', {'mode': 'from', 'attemptId': bad, 'from': '++z'}, '(+name+name) is not supported: ++z')):
            with self.subTest(resume):
                answer = self.put(server, 1, workflow, retryAttemptName='again', resume=resume)
                self.assertEqual(answer.status, 400, answer.body)
                self.assertIn(text, answer.message)
        self.assertEqual(len(server.get('/api/attempts?include_retried=true').json()['attempts']), 2, 'nothing is left behind')

    # decisions E-62
    def test_a_resume_that_waited_for_its_turn_takes_over_what_had_run(self):
        text = self.gated(1) + '+b:\n  sh>: test ${session_date} = 2026-01-02 -o -e mended\n'
        server = self.pushed(w=text.replace('mended', os.path.join(self.project, 'mended')))
        self.open_gate()
        failed = self.put(server, 1).json()['id']
        self.wait_for('the failure', lambda: self.status(server, failed) == 'error')
        os.remove(self.gate)
        other = self.put(server, 2).json()['id']
        again = self.put(server, 1, retryAttemptName='again', resume={'mode': 'failed', 'attemptId': failed}).json()['id']
        self.assertEqual(server.get(f'/api/attempts/{again}/tasks').json(), {'tasks': []})
        self.file('mended', '')
        self.open_gate()
        for attempt in (other, again):
            self.wait_for('the end', lambda attempt=attempt: self.status(server, attempt) == 'success')
        self.assertEqual(self.noted(), ['2026-01-01', '2026-01-02'])

    # decisions E-26
    def test_a_resume_runs_what_has_changed_and_what_comes_after_it(self):
        ran = os.path.join(self.project, 'ran')
        task = lambda name, more='': f'  +{name}:\n    sh>: echo {name}{more} >> {ran}\n'  # noqa: E731
        text = '+first:\n' + task('a') + task('b') + '+second:\n  _export: {x: %s}\n' + task('c') + '+third:\n' + task('d') + '+end:\n  fail>: on purpose\n'
        server = self.pushed(w=text % 1)
        source = self.put(server, 1).json()['id']
        self.wait_for('the end', lambda: self.status(server, source) == 'error')
        for changed, expected in (((text % 1), []), ((text % 2), ['c', 'd']), ((text % 1).replace('echo b', 'echo B'), ['B', 'c', 'd'])):
            os.remove(ran) if os.path.exists(ran) else None
            self.file('p/w.dig', changed)
            self.digdag('push', 'p', '--project', 'p')
            done = self.digdag('retry', source, '--latest-revision', '--resume', '--changed', '--wait')
            self.assertEqual(done.code, 3, done.err)
            self.assertEqual(self.content('ran').split() if self.exists('ran') else [], expected)


if __name__ == '__main__':
    unittest.main()
