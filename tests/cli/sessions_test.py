#!/usr/bin/env python3
"""Sessions, attempts and tasks on a server: starting, showing, waiting for and ending them, and their logs."""
import gzip
import json
import unittest

from fake_server import ClientTest
from program import Terminal

PROJECT = {'id': '1', 'name': 'myproj'}
WORKFLOW = {'id': '2', 'name': 'main', 'project': PROJECT, 'revision': 'r1', 'timezone': 'Asia/Tokyo', 'config': {}}
ATTEMPT = {'status': 'running', 'id': '5', 'index': 1, 'project': PROJECT, 'workflow': {'name': 'main', 'id': '2'}, 'sessionId': '4',
           'sessionUuid': '0b6b2b4e-0000-4000-8000-000000000000', 'sessionTime': '2026-01-02T03:04:05+09:00', 'retryAttemptName': None,
           'done': False, 'success': False, 'cancelRequested': False, 'params': {'who': 'you'}, 'createdAt': '2026-01-03T00:00:00Z', 'finishedAt': None}
SUCCESS = {**ATTEMPT, 'status': 'success', 'done': True, 'success': True, 'finishedAt': '2026-01-03T00:00:09Z'}
FAILED = {**ATTEMPT, 'status': 'error', 'done': True, 'finishedAt': '2026-01-03T00:00:09Z'}
KILLED = {**FAILED, 'status': 'killed', 'cancelRequested': True}
BLOCK = '''\
  session id: 4
  attempt id: 5
  uuid: 0b6b2b4e-0000-4000-8000-000000000000
  project: myproj
  workflow: main
  session time: 2026-01-02 03:04:05 +0900
  retry attempt name: 
  params: {"who":"you"}
  created at: 2026-01-03 00:00:00 +0000
'''


def session(number, attempt):
    last = {key: attempt[key] for key in ('id', 'retryAttemptName', 'done', 'success', 'cancelRequested', 'params', 'createdAt', 'finishedAt')}
    return {'id': str(number), 'project': PROJECT, 'workflow': {'name': 'main', 'id': '2'}, 'sessionUuid': attempt['sessionUuid'],
            'sessionTime': attempt['sessionTime'], 'lastAttempt': last}


def task(number, name, state, **more):
    return {'id': str(number), 'fullName': name, 'parentId': None if number == 1 else '1', 'config': {'echo>': 'hi'}, 'upstreams': ['7', '8'],
            'state': state, 'cancelRequested': False, 'exportParams': {}, 'storeParams': {'a': 1}, 'stateParams': {},
            'updatedAt': '2026-01-03T00:00:01Z', 'retryAt': None, 'startedAt': None, 'error': {}, 'isGroup': number == 1, **more}


class StartTest(ClientTest):
    answers = {'GET /api/projects': {'projects': [PROJECT]}, 'GET /api/projects/1/workflows': {'workflows': [WORKFLOW]},
               'GET /api/workflows/2/truncated_session_time': {'project': PROJECT, 'revision': 'r1', 'sessionTime': '2026-01-02T03:04:05+09:00',
                                                               'timezone': 'Asia/Tokyo'},
               'PUT /api/attempts': ATTEMPT, 'GET /api/attempts/5': FAILED, 'GET /api/logs/5/files': {'files': []}}

    def start_main(self, *words):
        return self.client('start', 'myproj', 'main', '--session', '2026-01-02 03:04:05', *words)

    # cli 11.78, 11.82
    def test_start_needs_a_session_time(self):
        done = self.client('start', 'myproj', 'main')
        self.assert_error(done, 'Usage: digdag start <project> <workflow>', 'error: --session option is required')
        for wrong in ('bogus', 'last', '2026/01/02'):
            self.assert_error(self.client('start', 'myproj', 'main', '--session', wrong), 'error: --session must be hourly, daily, now, ', wrong)
        self.assertEqual(self.server.requests, [])

    # cli 11.79
    def test_start_shows_the_attempt(self):
        done = self.start_main('-p', 'who=you', '-p', 'n.x=1', '--retry', 'again')
        self.assertEqual((done.code, done.out), (0, 'Started a session attempt:\n' + BLOCK + '\n'))
        self.assertIn('* Use `digdag session 4` to show session status.\n* Use `digdag task 5` and `digdag log 5` to show task status and logs.\n', done.err)
        self.assertEqual(self.server.asked(), [
            'GET /api/projects?name=myproj', 'GET /api/projects/1/workflows?name=main',
            'GET /api/workflows/2/truncated_session_time?session_time=2026-01-02T03%3A04%3A05', 'PUT /api/attempts'])
        self.assertEqual(self.server.last('PUT').json(), {'workflowId': '2', 'sessionTime': '2026-01-01T18:04:05Z', 'retryAttemptName': 'again',
                                                          'resume': None, 'params': {'who': 'you', 'n': {'x': '1'}}})

    def test_session_words_are_cut_by_the_server(self):
        for word, mode in (('hourly', 'hour'), ('daily', 'day'), ('now', None)):
            self.assertEqual(self.client('start', 'myproj', 'main', '--session', word, '--revision', 'r0').code, 0)
            asked = [request for request in self.server.requests if request.path.endswith('truncated_session_time')][-1]
            self.assertEqual(asked.query.get('mode'), mode)
            self.assertRegex(asked.query['session_time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$')
        self.assertIn('GET /api/projects/1/workflows?name=main&revision=r0', self.server.asked())

    # cli 11.80
    def test_a_session_is_started_once(self):
        self.server.answers['PUT /api/attempts'] = (409, ATTEMPT)
        self.assert_error(self.start_main(), 'error: A session for the requested session_time already exists '
                          '(session_id=4, attempt_id=5, session_time=2026-01-02T03:04:05+09:00)\n'
                          'hint: use `digdag retry 5 --latest-revision --all` command to run the session again')

    # cli 11.81
    def test_a_dry_run_starts_nothing(self):
        done = self.start_main('--dry-run', '-p', 'a=b')
        self.assertEqual(done.out, 'Session attempt:\n  session id: (dry run)\n  attempt id: (dry run)\n  uuid: (dry run)\n  project: myproj\n'
                         '  workflow: main\n  session time: 2026-01-01 18:04:05 +0000\n  retry attempt name: \n  params: {"a":"b"}\n\n')
        self.assertIn('Session attempt is not started.\n', done.err)
        self.assertNotIn('PUT /api/attempts', self.server.asked())

    def test_waiting_ends_with_what_became_of_the_attempt(self):
        for end, code in ((SUCCESS, 0), (FAILED, 3), (KILLED, 4)):
            self.server.answers['GET /api/attempts/5'] = [ATTEMPT, end]
            done = self.start_main('--wait')
            self.assertEqual(done.code, code)
            self.assertIn(f'Attempt 5 has ended: {end["status"]}\n', done.err)
        self.server.answers['GET /api/attempts/5'] = ATTEMPT
        done = self.start_main('--wait=0s')
        self.assert_error(done, 'error: attempt 5 is still running after 0 s', code=5)
        self.assert_error(self.start_main('--wait=soon'), '--wait must be a duration')

    def test_following_prints_the_log_as_it_comes(self):
        line = '2026-01-03 00:00:0{}.000 +0000 [INFO] (0001@[0:myproj:4:5]+main+a) agent: {}\n'
        log = [{'fileName': 'a.log.gz', 'fileSize': size, 'taskName': '+main+a', 'fileTime': '2026-01-03T00:00:00Z', 'direct': None} for size in (1, 2)]
        self.server.answers['GET /api/attempts/5'] = [ATTEMPT, SUCCESS]
        self.server.answers['GET /api/logs/5/files'] = [{'files': log[:1]}, {'files': log[1:]}]
        first = line.format(1, 'one').encode()
        self.server.answers['GET /api/logs/5/files/a.log.gz'] = [gzip.compress(first + b'unfin'), gzip.compress(first + b'unfinished\nlast')]
        done = self.start_main('--follow')
        self.assertEqual((done.code, done.out[len('Started a session attempt:\n' + BLOCK + '\n'):]), (0, line.format(1, 'one') + 'unfinished\nlast\n'))

    def test_on_a_terminal_waiting_shows_how_far_it_is(self):
        self.server.answers['GET /api/attempts/5'] = [ATTEMPT, ATTEMPT, SUCCESS]
        self.server.answers['GET /api/attempts/5/tasks'] = {'tasks': [task(1, '+main', 'planned'), task(2, '+main+a', 'success'), task(3, '+main+b', 'running')]}
        self.server.answers['POST /api/attempts/5/kill'] = ATTEMPT
        terminal = Terminal(self, 'kill', '5', '--wait', '-e', self.server.endpoint)
        self.assertEqual(terminal.end(), 0)
        self.assertIn('attempt 5: 1/2 done, 1 running', terminal.text)

    def test_started_attempts_as_json(self):
        self.assertEqual(json.loads(self.start_main('--json').out), ATTEMPT)


class RetryTest(ClientTest):
    answers = {'GET /api/attempts/5': FAILED, 'GET /api/projects/1/workflows': {'workflows': [{**WORKFLOW, 'id': '3'}]},
               'PUT /api/attempts': {**ATTEMPT, 'id': '6'}}

    # cli 11.87
    def test_retry_must_be_told_what_and_of_which_revision(self):
        self.assert_error(self.client('retry', '5'), 'Usage: digdag retry', 'error: --keep-revision, --latest-revision, or --revision <name> option is required. '
                          '--all, --resume, or --resume-from <+name> option is required. ')
        self.assert_error(self.client('retry', '5', '--all', '--resume', '--latest-revision'), 'Setting --all, --resume, or --resume-from together is invalid.')
        self.assert_error(self.client('retry', 'abc', '--all', '--latest-revision'), 'Usage: digdag retry', 'error: For input string: "abc"\nhint: an id is a number')
        for words, expected in ((['--latest-revision', '--all'], ('3', None)),
                                (['--keep-revision', '--resume'], ('2', {'mode': 'failed', 'attemptId': '5'})),
                                (['--revision', 'r0', '--resume-from', '+after'], ('3', {'mode': 'from', 'from': '+after', 'attemptId': '5'}))):
            done = self.client('retry', '5', *words, '-p', 'b=c')
            self.assertEqual((done.code, done.out.splitlines()[2]), (0, '  attempt id: 6'), done.err)
            sent = self.server.last('PUT').json()
            self.assertEqual((sent['workflowId'], sent['resume']), expected)
            self.assertEqual((sent['params'], sent['sessionTime']), ({'who': 'you', 'b': 'c'}, '2026-01-01T18:04:05Z'))
            self.assertRegex(sent['retryAttemptName'], r'^[0-9a-f-]{36}$')
        self.assertEqual(self.server.last('GET').query, {'name': 'main', 'revision': 'r0'})

    def test_the_workflow_is_asked_for_as_it_is_named(self):
        self.server.answers['GET /api/attempts/5'] = {**FAILED, 'workflow': {'name': 'a\u202eb', 'id': '2'}}
        self.assertEqual(self.client('retry', '5', '--all', '--latest-revision').code, 0)
        self.assertEqual(self.server.last('GET').query, {'name': 'a\u202eb'})

    def test_a_name_is_used_once(self):
        self.server.answers['PUT /api/attempts'] = (409, ATTEMPT)
        self.assert_error(self.client('retry', '5', '--all', '--keep-revision', '--name', 'n1'),
                          "error: Request conflicted: An attempt named 'n1' already exists (session_id=4, attempt_id=5, ")


class ShowTest(ClientTest):
    answers = {'GET /api/sessions': {'sessions': [session(4, KILLED), session(3, SUCCESS)]}, 'GET /api/sessions/4': session(4, KILLED),
               'GET /api/projects': {'projects': [PROJECT]}, 'GET /api/projects/1/sessions': {'sessions': []},
               'GET /api/attempts': {'attempts': [KILLED, {**SUCCESS, 'id': '2'}]}, 'GET /api/attempts/5': SUCCESS,
               'GET /api/sessions/4/attempts': {'attempts': [KILLED]},
               'GET /api/attempts/5/tasks': {'tasks': [task(1, '+main', 'group_error'), task(2, '+main+a', 'error', startedAt='2026-01-03T00:00:00Z',
                                                                                            error={'message': 'why'})]}}

    # cli 11.83
    def test_layouts(self):
        killed = BLOCK + '  kill requested: true\n  status: error\n\n'
        self.assertEqual(self.client('session', '4').out, killed)
        done = self.client('sessions')
        self.assertTrue(done.out.startswith('Sessions:\n  session id: 3\n'), done.out)
        self.assertTrue(done.out.endswith('  status: success\n\n' + killed), done.out)
        finished = BLOCK + '  finished at: 2026-01-03 00:00:09 +0000\n'
        self.assertEqual(self.client('attempt', '5').out, finished + '  kill requested: false\n  status: success\n\n')
        self.assertEqual(self.client('attempts', '4').out, 'Session attempts:\n' + finished + '  kill requested: true\n  status: killed\n\n')
        block = '''\
   id: 2
   name: +main+a
   state: error
   started: 2026-01-03 00:00:00 +0000
   updated: 2026-01-03 00:00:01 +0000
   config: {"echo>":"hi"}
   parent: 1
   upstreams: [7, 8]
   export params: {}
   store params: {"a":1}
   state params: {}
   error: {"message":"why"}

2 entries.
'''
        done = self.client('tasks', '5')
        self.assertTrue(done.out.endswith(block), done.out)
        self.assertIn('   parent: null\n', done.out)
        self.assertEqual(done.out.count('error: {'), 1)
        self.assertEqual(self.client('tasks', '5', '--status', 'running').out, '0 entries.\n')

    # cli 11.84
    def test_empty_lists_say_how_to_begin(self):
        done = self.client('sessions', 'myproj', 'main', '-s', '5', '-i', '9')
        self.assertEqual((done.code, done.out), (0, 'Sessions:\n'))
        self.assertIn('Use `digdag start` to start a session.\n', done.err)
        self.assertEqual(self.server.asked()[-1], 'GET /api/projects/1/sessions?last_id=9&page_size=5&workflow=main')

    # decisions R-14
    def test_rows_of_a_status_are_chosen_by_the_server_or_by_the_command(self):
        self.server.answers['GET /api/sessions'] = lambda request: {'sessions': [] if 'last_id' in request.query else [session(4, KILLED), session(3, SUCCESS)]}
        self.server.answers['GET /api/attempts'] = lambda request: {'attempts': [] if 'last_id' in request.query else [KILLED, SUCCESS]}
        self.assertEqual(self.client('sessions', '--status', 'success').out.count('session id: '), 1)
        for status in ('failed', 'error', 'killed'):
            self.assertIn('session id: 4', self.client('sessions', '--status', status).out)
        self.assertIn('status: killed', self.client('attempts', '--status', 'killed').out)
        self.assertIn('GET /api/attempts?status=killed', self.server.asked())
        self.assertEqual(self.client('attempts', '--status', 'running').out, 'Session attempts:\n')
        self.assert_error(self.client('sessions', '--status', 'bogus'), '--status must be running, success, ')

    # cli 11.85
    def test_what_is_not_there(self):
        for command in ('attempt', 'tasks', 'kill', 'session', 'log', 'attempts'):
            done = self.client(command, '999')
            self.assert_error(done, 'error: Resource not found: {"message": "Resource does not exist: /api/')
            self.assertEqual(done.out, '')

    # cli 11.86
    def test_what_is_no_number(self):
        for command in ('attempt', 'tasks', 'kill', 'log', 'attempts'):
            self.assert_error(self.client(command, 'abc'), 'Usage: digdag ', 'error: For input string: "abc"')

    def test_rows_as_json(self):
        self.assertEqual(json.loads(self.client('sessions', '--json').out), {'sessions': [session(3, SUCCESS), session(4, KILLED)]})
        lines = self.client('attempts', '--jsonl').out.splitlines()
        self.assertEqual([json.loads(line)['id'] for line in lines], ['2', '5'])
        self.assertEqual(json.loads(self.client('attempt', '5', '--json').out), SUCCESS)

    # cli 11.88
    def test_kill(self):
        self.server.answers['POST /api/attempts/5/kill'] = [ATTEMPT, (409, {'message': 'Session attempt already killed or finished', 'status': 409})]
        done = self.client('kill', '5')
        self.assertEqual((done.code, done.out), (0, 'Kill requested for session attempt 5\n'))
        self.assertEqual(self.server.last('POST').body, b'{}')
        self.assert_error(self.client('kill', '5'), 'error: Request conflicted: ', 'already killed or finished')


class LogTest(ClientTest):
    FILES = [('+main+b', 'b2', '2026-01-03T00:00:05Z'), ('+main+a', 'a1', '2026-01-03T00:00:02Z'), ('+main+b', 'b1', '2026-01-03T00:00:01Z')]
    CONTENT = {'b1': [(1, 'INFO', 'b one'), (1, 'DEBUG', 'b detail')], 'b2': [(5, 'WARN', 'b two')], 'a1': [(2, 'INFO', 'a one'), (6, 'INFO', 'a two')]}
    answers = {'GET /api/attempts/5': SUCCESS,
               'GET /api/logs/5/files': {'files': [{'fileName': f'{name}@x.log.gz', 'fileSize': 9, 'taskName': of_task, 'fileTime': time, 'direct': None}
                                                   for of_task, name, time in FILES]}}

    def setUp(self):
        super().setUp()
        for name, lines in self.CONTENT.items():
            text = ''.join(f'2026-01-03 00:00:0{second}.000 +0000 [{level}] (t) c: {text}\nmore of {text}\n' for second, level, text in lines)
            self.server.answers[f'GET /api/logs/5/files/{name}@x.log.gz'] = gzip.compress(text.encode())

    def shown(self, *words):
        done = self.client('log', '5', *words)
        self.assertEqual(done.code, 0, done.err)
        return [line.split('c: ')[1] for line in done.out.splitlines() if 'c: ' in line], done.out

    # cli 11.89
    def test_task_after_task_from_info_on(self):
        lines, out = self.shown()
        self.assertEqual(lines, ['b one', 'b two', 'a one', 'a two'])
        self.assertIn('more of b one\n', out)
        self.assertNotIn('more of b detail', out)
        self.assertEqual(self.shown('-v')[0], ['b one', 'b detail', 'b two', 'a one', 'a two'])
        self.shown('+main+a')
        self.assertIn('GET /api/logs/5/files?task=%2Bmain%2Ba', self.server.asked())
        self.server.answers['GET /api/attempts/5'] = [ATTEMPT, SUCCESS]
        self.assertEqual(self.shown('-f')[0], ['b one', 'b two', 'a one', 'a two'])

    def test_where_there_is_nothing_it_says_why(self):
        self.server.answers['GET /api/logs/5/files'] = {'files': []}
        self.server.answers['GET /api/attempts/5/tasks'] = {'tasks': [{'fullName': '+main'}, {'fullName': '+main+a'}]}
        for words, why in (([], 'No log is there of attempt 5: '), (['+main+a'], 'No log is there of attempt 5: '),
                           (['+a'], "Attempt 5 has no task whose name begins with '+a'; did you mean +main+a?\n"),
                           (['-f', '+nope'], "Attempt 5 has no task whose name begins with '+nope'. Use `digdag tasks 5`")):
            done = self.client('log', '5', *words)
            self.assertEqual((done.code, done.out), (0, ''))
            self.assertIn(why, done.err)

    def test_by_time_and_only_the_last(self):
        self.assertEqual(self.shown('--merge')[0], ['b one', 'a one', 'b two', 'a two'])
        self.assertEqual(self.shown('--merge', '--tail', '2')[1], '2026-01-03 00:00:06.000 +0000 [INFO] (t) c: a two\nmore of a two\n')
        self.assertEqual(self.shown('--since', '2026-01-03 00:00:05 +0000')[0], ['b two', 'a two'])
        self.assertEqual(self.shown('--since', '2026-01-03T00:00:06Z')[0], ['a two'])
        self.assertEqual(self.shown('--since', '1h')[0], [])

    def test_logs_that_lie_elsewhere_are_fetched_there_without_our_headers(self):
        self.server.answers['GET /stored'] = gzip.compress(b'elsewhere\n')
        self.server.answers['GET /api/logs/5/files']  = {'files': [{'fileName': 'a1@x.log.gz', 'fileSize': 9, 'taskName': '+a', 'fileTime': '2026-01-03T00:00:02Z',
                                                                    'direct': self.server.endpoint + '/stored'}]}
        self.assertEqual(self.client('log', '5', '-H', 'X-Own=1').out, 'elsewhere\n')
        self.assertNotIn('x-own', self.server.requests[-1].headers)
        self.client('log', '5', '-X', 'client.http.disable_direct_download=true')
        self.assertEqual(self.server.asked()[-2:], ['GET /api/logs/5/files?direct_download=false', 'GET /api/logs/5/files/a1@x.log.gz'])


if __name__ == '__main__':
    unittest.main()
