#!/usr/bin/env python3
"""What clients of the REST API see of a server: pushes, look-ups, starts, resumes, tasks and schedules (spec/rest-api.md 18)."""
import base64
import gzip
import hashlib
import http.client
import os
import unittest
import urllib.parse

from rest import ECHO, FAR, GZIP, RestTest, packed
from running import Answer


class Forms(RestTest):
    # rest-api 18.17
    def test_lists_of_an_empty_server_are_empty(self):
        self.begin()
        for path in ('projects', 'workflows', 'schedules', 'sessions', 'attempts'):
            self.assertEqual(self.get('/api/' + path).json(), {path: []})

    # rest-api 18.6
    def test_head_answers_as_get_without_a_body(self):
        self.begin('-m', '-O', os.path.join(self.project, 'logs'))
        self.pushed({'w.dig': 'schedule:\n  daily>: 00:00:00\n+a:\n  echo>: 1\n'}, schedule_from=FAR)
        self.ended(self.started('w'))
        logs = self.get('/api/logs/1/files').json()['files']
        paths = ['version', 'version/check?client=0.10.5', 'projects', 'project?name=p', 'workflows', 'workflow?project=p&name=w',
                 'workflows/1/truncated_session_time?session_time=2026-01-01T00:00:00', 'schedules', 'sessions', 'sessions/1/attempts', 'attempts',
                 'attempts/1/retries', 'attempts/1/tasks', 'logs/1/files', f'logs/1/files/{urllib.parse.quote(logs[0]["fileName"])}', 'nothing']
        paths += [f'{kind}/1' for kind in ('projects', 'workflows', 'schedules', 'sessions', 'attempts')]
        paths += ['projects/1/' + part for part in ('revisions', 'workflows', 'workflows/w', 'workflow?name=w', 'schedules', 'sessions', 'archive', 'secrets')]
        connection = http.client.HTTPConnection('127.0.0.1', self.one.port, timeout=60)
        self.addCleanup(connection.close)
        for path in paths:
            answers = []
            # On one connection: bytes behind the headers of the first answer would spoil the second one.
            for method in ('HEAD', 'GET'):
                connection.request(method, '/api/' + path)
                answers.append(Answer(connection.getresponse()))
            head, got = answers
            self.assertEqual((head.status, head.headers['Content-Type']), (got.status, got.headers['Content-Type']), path)
            self.assertEqual(got.status, 404 if path == 'nothing' else 200, path)
            if head.headers['Content-Length']:
                self.assertEqual(int(head.headers['Content-Length']), len(got.body), path)

    # rest-api 18.18
    def test_ids_are_texts_wherever_they_stand(self):
        self.begin()
        self.pushed({'w.dig': 'schedule:\n  daily>: 00:00:00\n+a:\n  echo>: 1\n'}, schedule_from=FAR)
        self.ended(self.started('w'))
        for path in ('projects', 'workflows', 'schedules', 'sessions', 'attempts', 'attempts/1/tasks'):
            text = self.get('/api/' + path).body.decode()
            self.assertRegex(text, r'"id":"\d+"')
            self.assertNotRegex(text, r'"(id|parentId|sessionId)":\d', path)

    # rest-api 18.79, server 23.59
    def test_a_page_is_as_large_as_it_may_be(self):
        self.begin(*self.config('api.max_attempts_page_size = 50\n'))
        self.pushed({'w.dig': ECHO})
        for number in range(60):
            self.started('w', f'2026-03-04T00:{number:02}:00Z')
        self.refused(self.get('/api/attempts', page_size=51), 400, 'larger than MAX_PAGE_SIZE: 50')
        self.refused(self.get('/api/sessions', page_size=101), 400, 'larger than MAX_PAGE_SIZE: 100')
        for values, expected in (({'page_size': 50}, 50), ({'page_size': 0}, 0), ({}, 60)):
            self.assertEqual(len(self.get('/api/attempts', **values).json()['attempts']), expected, values)


    # rest-api 18.4
    def test_any_client_will_do_unless_limits_are_set(self):
        self.begin()
        for client in ('0.0.1', '0.10.5.1', '99'):
            told = self.get('/api/version/check', client=client).json()
            self.assertEqual((told['apiCompatible'], told['upgradeRecommended']), (True, False))
        self.begin(*self.config('server.client-version-check.api-incompatible-if-older = 0.9\n'
                                'server.client-version-check.upgrade-recommended-if-older = 0.10\n'))
        for client, expected in (('0.8.27', (False, True)), ('0.9.42', (True, True)), ('0.10.0', (True, False))):
            told = self.get('/api/version/check', client=client).json()
            self.assertEqual((told['apiCompatible'], told['upgradeRecommended']), expected, client)

    # rest-api 18.93
    def test_logs_are_read_only(self):
        self.begin()
        for path in ('/api/logs/1/files', '/api/logs/1/files/+w+a@0000000100000002.7@vm.log.gz'):
            answer = self.one.ask('PUT', path, b'x', GZIP)
            self.assertEqual((answer.status, answer.body), (405, b''), path)
            self.assertIn('GET', answer.headers['Allow'])


class Pushes(RestTest):
    def none_stored(self):
        self.assertEqual(self.get('/api/projects').json()['projects'], [])

    # rest-api 18.21, 18.20, 18.31
    def test_a_project_is_answered_with_the_digest_of_its_archive(self):
        self.begin()
        files = {'data/a.txt': 'no workflow at all'}
        project = self.pushed(files)
        self.assertEqual({key: project[key] for key in ('id', 'name', 'revision', 'deletedAt', 'archiveType', 'archiveMd5')},
                         {'id': '1', 'name': 'p', 'revision': 'r1', 'deletedAt': None, 'archiveType': 'db',
                          'archiveMd5': base64.b64encode(hashlib.md5(packed(files)).digest()).decode()})
        self.assertEqual(self.get('/api/workflows').json()['workflows'], [])

    # rest-api 18.23
    def test_project_and_revision_must_be_named(self):
        self.begin()
        for words, name in (('revision=r', 'project'), ('project=&revision=r', 'project'), ('project=p', 'revision'), ('project=p&revision=', 'revision')):
            answer = self.one.ask('PUT', '/api/projects?' + words, packed({'w.dig': ECHO}), GZIP)
            self.refused(answer, 400, f'{name}= is required')
        self.none_stored()

    # rest-api 18.26, decisions R-09
    def test_an_archive_may_come_in_chunks(self):
        self.begin()
        connection = http.client.HTTPConnection('127.0.0.1', self.one.port, timeout=60)
        self.addCleanup(connection.close)
        data = packed({'w.dig': ECHO})
        connection.request('PUT', '/api/projects?project=p&revision=r', iter([data[:100], data[100:]]), GZIP, encode_chunked=True)
        answer = Answer(connection.getresponse())
        self.assertEqual((answer.status, answer.json()['archiveMd5']), (200, base64.b64encode(hashlib.md5(data).digest()).decode()))

    # rest-api 18.27
    def test_names_of_projects(self):
        self.begin()
        for name in ('9lives', '+x', 'a.dig', 'x' * 256):
            self.refused(self.push({'w.dig': ECHO}, name), 400, 'Validating project failed')
        self.none_stored()
        for name in ('a+b', '日本', 'x' * 255):
            self.assertEqual(self.pushed({'w.dig': ECHO}, name)['name'], name)

    # rest-api 18.28
    def test_a_wrong_workflow_leaves_nothing_behind(self):
        self.begin()
        for text, why in (('+a:\n  echo>: [1, 2\n', 'w.dig'), ('+a:\n  echo>: 1\n  sh>: ls\n', "can't have more than one operator"),
                          ('schedule:\n  daily>: 25:99\n' + ECHO, 'daily> scheduler requires hh:mm:ss format: 25:99')):
            self.refused(self.push({'w.dig': text, 'good.dig': ECHO}), 400, why)
        self.none_stored()
        self.pushed({'w.dig': ECHO})
        self.refused(self.push({'w.dig': '+a: ['}, revision='r2'), 400)
        self.assertEqual([one['revision'] for one in self.get('/api/projects/1/revisions').json()['revisions']], ['r1'])

    # rest-api 18.29
    def test_an_entry_that_leads_out_is_written_nowhere(self):
        self.environment['TMPDIR'] = os.path.join(self.project, 'a', 'b')
        os.makedirs(self.environment['TMPDIR'])
        self.begin()
        for path in ('../evil', '../../evil', 'w/../../../../evil', os.path.join(self.project, 'evil')):
            self.refused(self.push({'w.dig': ECHO, path: 'x'}), 400, 'Bad zip entry')
        self.none_stored()
        self.assertEqual([name for _, _, files in os.walk(self.project) for name in files if name == 'evil'], [])

    # rest-api 18.30
    def test_sizes_have_limits(self):
        self.begin()
        limit = 2 << 20
        for files, why in (({'big.bin': bytes(limit + 1)}, f'Size of a file in the archive exceeds limit ({limit + 1} > {limit} bytes): big.bin'),
                           ({'a': bytes(1228800), 'b': bytes(1228800)}, f'Total size of the archive exceeds limit (2457600 > {limit} bytes)')):
            self.refused(self.push(files), 400, why)
        answer = self.one.ask('PUT', '/api/projects?project=p&revision=r', os.urandom(limit + 1), GZIP)
        self.refused(answer, 400, f'Size of the uploaded archive file exceeds limit ({limit} bytes)')
        self.none_stored()

    # rest-api 18.33
    def test_a_schedule_that_is_cleared_must_be_there(self):
        self.begin()
        self.refused(self.push({'w.dig': ECHO}, clear_schedule='nope'), 400, 'nope does not exist')
        self.none_stored()


class LookUps(RestTest):
    # rest-api 18.37, 18.39
    def test_a_project_is_found_by_its_name(self):
        self.begin()
        self.pushed({'w.dig': ECHO})
        self.assertEqual([one['id'] for one in self.get('/api/projects', name='p').json()['projects']], ['1'])
        self.assertEqual(self.get('/api/projects', name='q').json(), {'projects': []})
        self.assertEqual(self.get('/api/project', name='p').json(), self.get('/api/projects/1').json())
        self.refused(self.get('/api/project', name='q'), 404, 'Resource does not exist: project name=q')
        self.refused(self.get('/api/project'), 400, 'name= is required')

    # rest-api 18.40, 18.41, 18.42, 18.45, 18.51
    def test_workflows_of_revisions(self):
        self.begin()
        self.pushed({'w.dig': ECHO})
        self.pushed({'w.dig': ECHO}, revision='r2')
        revisions = lambda **values: [one['revision'] for one in self.get('/api/projects/1/revisions', **values).json()['revisions']]  # noqa: E731
        self.assertEqual((revisions(), revisions(name='r1'), revisions(name='zz')), (['r2', 'r1'], ['r1'], []))
        self.refused(self.get('/api/projects/9/revisions'), 404)
        old, new = (self.get('/api/projects/1/workflows', revision=name).json()['workflows'][0] for name in ('r1', 'r2'))
        self.assertNotEqual(old['id'], new['id'])
        self.assertEqual(self.get('/api/projects/1/workflows').json()['workflows'], [new])
        self.refused(self.get('/api/projects/1/workflows', revision='zz'), 404, 'Resource does not exist: revision name=zz in project id=1')
        self.assertEqual(self.get('/api/projects/1/workflows', name='zz').json(), {'workflows': []})
        self.refused(self.get('/api/projects/1/workflows/zz'), 404, 'Resource does not exist: workflow name=zz in revision id=2')
        self.assertEqual(self.get('/api/projects/1/workflows/w').json(), new)
        self.assertEqual(self.get('/api/projects/1/schedules', workflow='w').json(), {'schedules': []})
        self.assertEqual(self.one.ask('DELETE', '/api/projects/1').status, 200)
        for workflow in (old, new):
            self.assertEqual(self.get(f'/api/workflows/{workflow["id"]}').json(), workflow)

    # rest-api 18.48, 18.49, 18.50
    def test_workflows_of_all_projects(self):
        self.begin()
        self.pushed({'old.dig': ECHO, 'calc.dig': ECHO})
        self.pushed({'calc.dig': ECHO, 'load_50%.dig': ECHO}, revision='r2')
        self.pushed({'calc.dig': ECHO}, 'gone')
        self.pushed({'report.dig': ECHO}, 'loads')
        self.one.ask('DELETE', '/api/projects/2')
        found = lambda **values: [one['name'] for one in self.get('/api/workflows', **values).json()['workflows']]  # noqa: E731
        ids = [one['id'] for one in self.get('/api/workflows').json()['workflows']]
        self.assertEqual(found(), ['calc', 'load_50%', 'report'])
        self.assertEqual(found(order='desc'), ['report', 'load_50%', 'calc'])
        self.assertEqual((found(count=1), found(order='desc', count=1)), (['calc'], ['report']))
        self.assertEqual((found(last_id=ids[1]), found(last_id=ids[1], order='desc')), (['report'], ['calc']))
        self.refused(self.get('/api/workflows', order='up'), 400, "parameter 'order' must be either 'asc' or 'desc'")
        self.assertEqual((found(name_pattern='load'), found(name_pattern='load', search_project_name='true')), (['load_50%'], ['load_50%', 'report']))
        self.assertEqual((found(name_pattern='%'), found(name_pattern='d_5'), found(name_pattern='o_d')), (['load_50%'], ['load_50%'], []))

    # rest-api 18.43, 18.44, decisions R-12
    def test_the_configuration_of_a_workflow(self):
        self.begin()
        self.pushed({'w.dig': 'timezone: Asia/Tokyo\n+a:\n  echo>: {i: 1, f: 1.0, s: "1"}\n_error:\n  echo>: e\n_export:\n  n: 2.50\n', 'plain.dig': ECHO})
        found = self.workflow('w')
        self.assertEqual(found['timezone'], 'Asia/Tokyo')
        self.assertIn('"config":{"_export":{"n":2.5},"_error":{"echo>":"e"},"+a":{"echo>":{"i":1,"f":1.0,"s":"1"}}}',
                      self.get(f'/api/workflows/{found["id"]}').body.decode())
        self.assertEqual(self.workflow('plain')['timezone'], 'UTC')

    # rest-api 18.46
    def test_an_archive_comes_back_as_it_was_sent(self):
        self.begin()
        first, second = {'w.dig': ECHO}, {'w.dig': ECHO, 'more': 'x'}
        self.pushed(first)
        self.pushed(second, revision='r2')
        for values, files in (({}, second), ({'revision': 'r1'}, first), ({'direct_download': 'false'}, second)):
            answer = self.get('/api/projects/1/archive', **values)
            self.assertEqual((answer.status, answer.headers['Content-Type'], answer.body), (200, 'application/gzip', packed(files)))
        self.refused(self.get('/api/projects/1/archive', revision='zz'), 404, 'Resource does not exist: revision name=zz in project id=1')

    # rest-api 18.103, 18.78
    def test_a_project_that_was_deleted(self):
        self.begin()
        self.pushed({'w.dig': 'schedule:\n  daily>: 00:00:00\n+a:\n  echo>: 1\n'}, schedule_from=FAR)
        attempt = self.ended(self.started('w'))
        self.assertEqual(self.one.ask('DELETE', '/api/projects/1').status, 200)
        for answer in (self.get('/api/projects/1'), self.one.ask('DELETE', '/api/projects/1')):
            self.refused(answer, 404, 'is already deleted at')
        self.assertEqual(self.get('/api/schedules').json(), {'schedules': []})
        self.refused(self.get('/api/attempts', project='p'), 404)
        self.assertEqual(self.get(f'/api/attempts/{attempt["id"]}').json(), attempt)
        self.assertEqual(self.pushed({'w.dig': ECHO})['id'], '2')


class SessionTimes(RestTest):
    def truncated(self, workflow, time, mode=None):
        return self.get(f'/api/workflows/{self.workflow(workflow)["id"]}/truncated_session_time', session_time=time, **({'mode': mode} if mode else {}))

    def truncated_to(self, *words):
        answer = self.truncated(*words)
        self.assertEqual(answer.status, 200, (words, answer.body))
        return answer.json()['sessionTime']

    # rest-api 18.52, 18.53, 18.54, 18.55, decisions R-16
    def test_a_session_time_is_cut_in_the_zone_of_the_workflow(self):
        self.begin()
        self.pushed({'tokyo.dig': 'timezone: Asia/Tokyo\nschedule:\n  daily>: 03:30:00\n+a:\n  echo>: 1\n', 'india.dig': 'timezone: Asia/Kolkata\n' + ECHO},
                    schedule_from=FAR)
        for time, expected in (('2026-03-04T05:06:07', '05:06:07'), ('2026-03-04T05:06', '05:06:00'), ('2026-03-04T05:06:07.25', '05:06:07'),
                               ('2026-03-04T05:06:07Z', '14:06:07'), ('2026-03-04T05:06:07+05:00', '09:06:07')):
            self.assertEqual(self.truncated_to('tokyo', time), f'2026-03-04T{expected}+09:00')
        for mode, expected in (('hour', '10:00:00'), ('day', '00:00:00'), ('minute', '10:36:00'), ('second', '10:36:07')):
            self.assertEqual(self.truncated_to('india', '2026-03-04T05:06:07.5Z', mode), f'2026-03-04T{expected}+05:30')
        for clock, day in (('00:00:00', 4), ('02:00:00', 4), ('03:30:00', 4), ('03:30:01', 5)):
            self.assertEqual(self.truncated_to('tokyo', '2026-03-04T' + clock, 'schedule'), f'2026-03-{day:02}T00:00:00+09:00')
            self.assertEqual(self.truncated_to('tokyo', '2026-03-04T' + clock, 'next_schedule'), '2026-03-05T00:00:00+09:00')
        for mode in ('schedule', 'next_schedule'):
            self.refused(self.truncated('india', '2026-03-04T00:00:00', mode), 400, 'schedule is not set to this workflow')
        self.refused(self.get('/api/workflows/1/truncated_session_time'), 400, 'session_time')
        for answer in (self.truncated('india', '2026-03-04T00:00:00', 'week'), self.truncated('india', '2026-03-04')):
            self.assertEqual((answer.status, answer.body), (404, b''))

    # rest-api 18.65
    def test_an_attempt_of_a_scheduled_workflow_knows_its_neighbours(self):
        self.begin()
        self.pushed({'tokyo.dig': 'timezone: Asia/Tokyo\nschedule:\n  daily>: 03:30:00\n+a:\n  echo>: 1\n', 'plain.dig': ECHO}, schedule_from=FAR)
        self.assertEqual(self.started('tokyo', '2026-03-04T15:00:00Z', {'k': 1, 'last_session_time': 'mine'})['params'],
                         {'k': 1, 'last_session_time': '2026-03-04T00:00:00+09:00', 'next_session_time': '2026-03-06T00:00:00+09:00'})
        params = {'a': None, 'deep': {'n': 1, 'x': None, 'list': [None, 1.0]}}
        self.assertEqual(self.started('plain', params=params)['params'], params)


class Resumes(RestTest):
    """A workflow whose tasks note that they ran; the second one fails until it is mended."""

    def setUp(self):
        super().setUp()
        self.begin()
        note = lambda name, more='': f'{{sh>: "echo {name} >> {self.project}/ran{more}"}}'  # noqa: E731
        self.pushed({'w.dig': f'+first: {note("first")}\n+second:\n  +x: {note("x")}\n  +y: {note("y", f"; test -e {self.project}/mended")}\n'
                              f'+third:\n  +x: {note("z")}\n', 'other.dig': ECHO})
        self.failed = self.ended(self.started('w'))
        self.assertEqual(self.failed['status'], 'error')
        os.remove(os.path.join(self.project, 'ran'))
        self.file('mended', '')

    def resume(self, name, mode='failed', workflow='w', attempt=None, **more):
        return self.put(workflow, retryAttemptName=name, resume={'mode': mode, 'attemptId': attempt or self.failed['id'], **more})

    def ran(self):
        return self.content('ran').split() if self.exists('ran') else []

    # rest-api 18.66, 18.67
    def test_what_had_succeeded_does_not_run_again(self):
        again = self.ended(self.resume('again').json())
        self.assertEqual((again['status'], self.ran()), ('success', ['y', 'z']))
        taken = {task['fullName']: (task['state'], task['startedAt'] is None) for task in self.tasks(again) if not task['isGroup']}
        self.assertEqual(taken, {'+w+first': ('success', True), '+w+second+x': ('success', True), '+w+second+y': ('success', False),
                                 '+w+third+x': ('success', False)})
        self.refused(self.resume('once more', attempt=again['id']), 400, 'Resuming successfully completed attempts is not supported')

    # rest-api 18.68, 18.69
    def test_a_resume_from_a_task_runs_it_and_what_follows(self):
        again = self.ended(self.resume('a', 'from', **{'from': '+second'}).json())
        self.assertEqual((again['status'], self.ran()), ('success', ['x', 'y', 'z']))
        again = self.ended(self.resume('b', 'from', **{'from': '+second+y'}).json())
        self.assertEqual(self.ran()[3:], ['y', 'z'])
        for pattern, why in (('+nothing', "doesn't match"), ('+x', '+x'), ('+second+', '+second+')):
            self.refused(self.resume('c', 'from', **{'from': pattern}), 400, why)

    # rest-api 18.70, 18.71: decisions E-25 refuses attempts that there are not
    def test_a_resume_must_be_of_an_attempt_that_there_is(self):
        self.refused(self.resume('a', 'all'), 400)
        self.refused(self.resume('a', attempt='99'), 404, 'Resource does not exist: session attempt id=99')
        self.assertEqual(self.ran(), [])


class Tasks(RestTest):
    # rest-api 18.88, 18.89, server 23.40
    def test_tasks_of_an_attempt_are_the_same_when_it_is_archived(self):
        database = os.path.join(self.project, 'db')
        gate = os.path.join(self.project, 'gate')
        os.mkfifo(gate)
        self.begin('-o', database)
        self.pushed({'w.dig': '+store:\n  py>: tasks.store\n+loop:\n  loop>: 2\n  _do:\n    +x:\n      echo>: ${i}\n'
                              f'+fail:\n  sh>: exit 3\n  _error:\n    sh>: cat {gate}\n',
                     'tasks.py': 'import digdag\n\ndef store():\n    digdag.env.store({"k": {"n": 1.5}})\n'})
        attempt = self.started('w')
        by_name = lambda: {task['fullName']: task for task in self.tasks(attempt)}  # noqa: E731
        self.wait_for('the failure', lambda: by_name().get('+w+fail^error', {}).get('state') == 'running')
        before = by_name()
        with open(gate, 'w', encoding='utf-8') as out:
            out.write('go on\n')
        self.ended(attempt)
        after = by_name()
        self.assertEqual(after['+w+store']['storeParams'], {'k': {'n': 1.5}})
        self.assertEqual([after[f'+w+loop^sub+loop-{number}']['exportParams'] for number in (0, 1)], [{'i': 0}, {'i': 1}])
        self.assertEqual(after['+w+fail']['error']['message'], 'Command failed with code 3 (runtime)')
        # Those that were over before the attempt was.
        for name in ('+w+store', '+w+loop', '+w+loop^sub+loop-0', '+w+loop^sub+loop-1', '+w+loop^sub+loop-1+x'):
            self.assertEqual(after[name], before[name])
        self.one.end()
        self.begin('-o', database)
        self.assertEqual(by_name(), after)


    def gated(self):
        return f'sh>: touch {self.project}/begun; until test -e {self.project}/gate; do sleep 0.05; done'

    # rest-api 18.83, 18.84, 18.85, 18.86
    def test_an_attempt_that_runs_and_is_killed(self):
        self.begin()
        self.pushed({'w.dig': f'+group:\n  +a:\n    {self.gated()}\n  +b:\n    echo>: 1\n+after:\n  echo>: 2\n'})
        attempt = self.started('w')
        self.wait_for('the command', lambda: self.exists('begun'))
        tasks = self.tasks(attempt)
        ids = {task['fullName']: task['id'] for task in tasks}
        parents = {'+w': None, '+w+group': '+w', '+w+group+a': '+w+group', '+w+group+b': '+w+group', '+w+after': '+w'}
        upstreams = {'+w+group+b': ['+w+group+a'], '+w+after': ['+w+group']}
        states = {'+w': 'planned', '+w+group': 'planned', '+w+group+a': 'running', '+w+group+b': 'blocked', '+w+after': 'blocked'}
        self.assertEqual([task['fullName'] for task in tasks], list(parents))
        for task in tasks:
            name = task['fullName']
            self.assertEqual(task['parentId'], ids[parents[name]] if parents[name] else None)
            self.assertEqual(task['upstreams'], [ids[one] for one in upstreams.get(name, [])])
            self.assertEqual((task['state'], task['isGroup'], task['cancelRequested']), (states[name], name in ('+w', '+w+group'), False))
        kill = f'/api/attempts/{attempt["id"]}/kill'
        killed = self.one.ask('POST', kill)
        self.assertEqual((killed.status, killed.json()), (200, attempt), 'as it was before')
        self.assertTrue(self.get(f'/api/attempts/{attempt["id"]}').json()['cancelRequested'])
        ended = self.ended(attempt)
        self.assertEqual((ended['status'], ended['success'], ended['finishedAt'] is not None), ('killed', False, True))
        self.assertEqual({task['fullName']: task['state'] for task in self.tasks(attempt)},
                         {'+w': 'canceled', '+w+group': 'canceled', '+w+group+a': 'canceled', '+w+group+b': 'blocked', '+w+after': 'blocked'})
        self.refused(self.one.ask('POST', kill), 409, 'Session attempt already killed or finished')
        self.refused(self.one.ask('POST', '/api/attempts/99/kill'), 404, 'session attempt id=99')

    # rest-api 18.87
    def test_a_failed_attempt_shows_where_and_why(self):
        self.begin()
        self.pushed({'w.dig': '+first:\n  echo>: 1\n+second:\n  fail>: not today\n+third:\n  echo>: 3\n'})
        tasks = self.tasks(self.ended(self.started('w')))
        self.assertEqual([(task['fullName'], task['state'], task['error'].get('message')) for task in tasks],
                         [('+w', 'group_error', None), ('+w+first', 'success', None), ('+w+second', 'error', 'not today'), ('+w+third', 'blocked', None),
                          ('+w^failure-alert', 'success', None)])
        self.assertIn('"error":{"message":"not today"', self.get('/api/attempts/1/tasks').body.decode())

    # rest-api 18.90, 18.91, 18.92
    def test_logs_of_tasks(self):
        self.begin('-m', '-O', os.path.join(self.project, 'logs'))
        self.pushed({'w.dig': '+a:\n  for_each>: {city: [oslo, lima]}\n  _do:\n    echo>: hello ${city}\n+ab:\n  echo>: 1\n'})
        self.ended(self.started('w'))
        files = self.get('/api/logs/1/files').json()['files']
        names = [one['fileName'] for one in files]
        self.assertEqual(names, sorted(names))
        tasks = ['+w+a', '+w+ab', '+w+a^sub+for-0=city=0=oslo', '+w+a^sub+for-0=city=1=lima']
        self.assertEqual(sorted(one['taskName'] for one in files), sorted(tasks))
        self.assertEqual(list(files[0]), ['fileName', 'fileSize', 'taskName', 'fileTime', 'agentId', 'direct'])
        self.assertEqual(len(self.get('/api/logs/1/files', task='+w+a').json()['files']), 4)
        self.assertEqual(len(self.get('/api/logs/1/files', task='+w+a^sub').json()['files']), 2)
        self.assertEqual(self.get('/api/logs/1/files', task='+w+b').json(), {'files': []})
        name = next(one for one in names if 'oslo' in one)
        for path in (urllib.parse.quote(name, safe=''), urllib.parse.quote(name, safe='+@=')):
            answer = self.get('/api/logs/1/files/' + path)
            self.assertEqual((answer.status, answer.headers['Content-Type'], answer.headers['Content-Encoding']), (200, 'application/gzip', None))
            self.assertIn('hello oslo\n', gzip.decompress(answer.body).decode())
        self.refused(self.get('/api/logs/1/files/x.log.gz'), 404, 'Log file not found')
        self.refused(self.get('/api/logs/1/files/..%2F..%2Fx'), 400, 'Invalid file name: ../../x')
        for path in ('/api/logs/99/files', '/api/attempts/99/tasks'):
            self.refused(self.get(path), 404, 'session attempt id=99')


class Schedules(RestTest):
    WORKFLOWS = {'tokyo.dig': 'timezone: Asia/Tokyo\nschedule:\n  daily>: 03:30:00\n+a:\n  echo>: 1\n'}

    def setUp(self):
        super().setUp()
        self.begin()
        self.pushed(self.WORKFLOWS, schedule_from=FAR)

    def post(self, action, body):
        return self.one.send('POST', f'/api/schedules/1/{action}', body)

    def times(self, answer=None):
        one = (answer or self.get('/api/schedules/1')).json()
        return one['nextRunTime'], one['nextScheduleTime']

    # rest-api 18.95, decisions R-08
    def test_disabling_and_enabling_again_and_again(self):
        for action, disabled in (('disable', True), ('disable', True), ('enable', False), ('enable', False), ('disable', True)):
            answer = self.post(action, {})
            self.assertEqual((answer.status, answer.json()['disabledAt'] is not None), (200, disabled), action)
            self.assertEqual(self.get('/api/schedules/1').json()['disabledAt'], answer.json()['disabledAt'])
        for headers in ({'Content-Type': 'application/json'}, {}):
            answer = self.one.ask('POST', '/api/schedules/1/enable', headers=headers)
            self.assertEqual((answer.status, answer.json()['disabledAt']), (200, None))

    # rest-api 18.97
    def test_sessions_are_skipped_by_time_and_by_number(self):
        before = self.times()
        self.assertEqual(before, ('2031-01-01T18:30:00Z', '2031-01-02T00:00:00+09:00'))
        dry = self.post('skip', {'nextTime': '2031-01-10T12:00:00', 'dryRun': True})
        self.assertEqual((dry.status, self.times(dry)), (200, ('2031-01-10T18:30:00Z', '2031-01-11T00:00:00+09:00')))
        self.assertEqual(self.times(), before)
        self.post('skip', {'nextTime': '2031-01-10T00:00:00Z', 'nextRunTime': '2031-01-11T01:02:03Z', 'dryRun': False})
        self.assertEqual(self.times(), ('2031-01-11T01:02:03Z', '2031-01-11T00:00:00+09:00'))
        self.post('skip', {'count': 3, 'fromTime': '2031-01-11T00:00:00Z', 'dryRun': False})
        self.assertEqual(self.times(), ('2031-01-14T18:30:00Z', '2031-01-15T00:00:00+09:00'))
        self.refused(self.post('skip', {'nextTime': '2031-01-05T00:00:00Z', 'dryRun': False}), 409, 'Specified time to skip schedules is already past')
        self.refused(self.post('skip', {'dryRun': False}), 400, 'nextTime or (fromTime and count) are required')
        self.refused(self.post('skip', {'nextTime': '2031-01-25T00:00:00Z'}), 400, 'dryRun')
        self.assertEqual(self.times(), ('2031-01-14T18:30:00Z', '2031-01-15T00:00:00+09:00'))


    # rest-api 18.96
    def test_enabling_may_skip(self):
        self.post('disable', {})
        self.refused(self.post('enable', {'skipSchedule': True, 'nextTime': '2030-02-01T00:00:00Z'}), 409, 'Specified time to skip schedules is already past')
        self.assertIsNotNone(self.get('/api/schedules/1').json()['disabledAt'])
        enabled = self.post('enable', {'skipSchedule': True, 'nextTime': '2031-02-01T00:00:00'})
        self.assertEqual((enabled.status, enabled.json()['disabledAt'], self.times(enabled)),
                         (200, None, ('2031-01-31T18:30:00Z', '2031-02-01T00:00:00+09:00')))
        self.assertEqual(self.times(), self.times(enabled))

    # rest-api 18.94
    def test_schedules_are_found(self):
        one = self.get('/api/schedules/1').json()
        self.assertEqual(self.get('/api/schedules').json(), {'schedules': [one]})
        self.assertEqual(self.get('/api/schedules', last_id=1).json(), {'schedules': []})
        self.assertEqual(self.get('/api/projects/1/schedules', workflow='tokyo').json(), {'schedules': [one]})
        self.refused(self.get('/api/schedules/9'), 404, 'schedule id=9')

    # rest-api 18.98, 18.99, 18.100, 18.101
    def test_sessions_before_the_next_one_are_filled_in(self):
        self.post('skip', {'nextTime': '2031-01-05T00:00:00', 'dryRun': False})
        words = {'fromTime': '2031-01-01T15:00:00Z', 'attemptName': 'b1'}
        days = lambda answer: [one['sessionTime'][:10] for one in answer.json()['attempts']]  # noqa: E731
        dry = self.post('backfill', {**words, 'dryRun': True})
        self.assertEqual(days(dry), ['2031-01-02', '2031-01-03', '2031-01-04'])
        self.assertEqual({(one['id'], one['sessionId'], one['index'], one['retryAttemptName']) for one in dry.json()['attempts']}, {('0', '0', 0, 'b1')})
        self.assertEqual(self.get('/api/sessions').json(), {'sessions': []})
        self.refused(self.post('backfill', {**words, 'dryRun': False, 'count': 20}), 400, 'count is set to 20 but there are only 3 attempts')
        filled = self.post('backfill', {**words, 'dryRun': False, 'count': 2})
        self.assertEqual(days(filled), ['2031-01-02', '2031-01-03'])
        around = lambda last, following: {'last_session_time': f'2031-01-{last}T00:00:00+09:00', 'next_session_time': f'2031-01-{following}T00:00:00+09:00'}  # noqa: E731
        self.assertEqual([one['params'] for one in filled.json()['attempts']],
                         [around('01', '03'), {**around('02', '04'), 'last_executed_session_time': '2031-01-02T00:00:00+09:00'}])
        first, second = [self.ended(one) for one in filled.json()['attempts']]
        self.assertEqual((first['status'], second['status']), ('success', 'success'))
        begun = [next(task['startedAt'] for task in self.tasks(one) if not task['isGroup']) for one in (first, second)]
        self.assertGreaterEqual(begun[1], first['finishedAt'])
        self.refused(self.post('backfill', {**words, 'dryRun': False}), 409, 'attempt name=b1 already exists')
        empty = self.post('backfill', {**words, 'fromTime': '2032-01-01T00:00:00Z', 'dryRun': False})
        self.assertEqual((empty.status, empty.json()['attempts']), (200, []))

    # rest-api 18.34, 18.36
    def test_a_schedule_outlives_a_push_that_has_it_still(self):
        self.post('disable', {})
        before, workflow = self.get('/api/schedules/1').json(), self.workflow('tokyo')['id']
        self.pushed({**self.WORKFLOWS, 'other.dig': ECHO}, revision='r2', schedule_from=FAR)
        after = self.get('/api/schedules/1').json()
        self.assertEqual((after['disabledAt'], self.times()), (before['disabledAt'], ('2031-01-01T18:30:00Z', '2031-01-02T00:00:00+09:00')))
        self.assertNotEqual((after['workflow']['id'], self.workflow('tokyo')['id']), (workflow, workflow))
        self.pushed({'tokyo.dig': ECHO}, revision='r3')
        self.assertEqual(self.get('/api/schedules').json(), {'schedules': []})


class Secrets(RestTest):
    def put_secret(self, key, body, project=1):
        return self.one.send('PUT', f'/api/projects/{project}/secrets/{key}', body)

    # rest-api 18.102
    def test_secrets_are_set_and_never_shown(self):
        database = os.path.join(self.project, 'db')
        self.begin('-o', database, '-X', 'digdag.secret-encryption-key=MDEyMzQ1Njc4OTAxMjM0NQ==')
        self.pushed({'w.dig': ECHO})
        for value in ('hunter2', 'replaced-hunter2'):
            answer = self.put_secret('db.password', {'value': value})
            self.assertEqual((answer.status, answer.json()), (200, {'key': 'db.password', 'project': {'id': '1', 'name': 'p'}}))
        self.put_secret('aws.key-id', {'value': 'x'})
        listed = self.get('/api/projects/1/secrets')
        self.assertEqual(listed.json(), {'secrets': [{'key': 'aws.key-id'}, {'key': 'db.password'}]})
        for key, body, status in (('9x', {'value': 'x'}, 400), ('a..b', {'value': 'x'}, 400), ('k', {}, 400), ('k', {'value': 'x' * 16385}, 400)):
            self.refused(self.put_secret(key, body), status)
        self.refused(self.put_secret('k', {'value': 'x'}, project=9), 404)
        for key in ('db.password', 'never.set'):
            self.assertEqual(self.one.ask('DELETE', f'/api/projects/1/secrets/{key}').status, 200)
        self.assertEqual(self.get('/api/projects/1/secrets').json(), {'secrets': [{'key': 'aws.key-id'}]})
        self.one.end()
        for name in os.listdir(database):
            with open(os.path.join(database, name), 'rb') as file:
                self.assertNotIn(b'hunter2', file.read())


class UpstreamClient(RestTest):
    """Requests as the access log of a server showed them when the original's command line was used (spec/rest-api.md 15)."""

    def ask(self, method, path, body=None):
        headers = {'User-Agent': 'DigdagClient/0.10.5.1', 'Accept-Encoding': 'gzip'}
        if body is not None:
            headers['Content-Type'] = 'application/gzip' if isinstance(body, bytes) else 'application/json'
        self.connection.request(method, '/api/' + path, body, headers)
        answer = Answer(self.connection.getresponse())
        self.assertEqual(answer.status, 200, (method, path, answer.body))
        if answer.headers['Content-Encoding'] == 'gzip':
            answer.body = gzip.decompress(answer.body)
        return answer

    # rest-api 18.110
    def test_the_requests_of_its_commands_are_understood(self):
        self.begin(*self.config('digdag.secret-encryption-key = MDEyMzQ1Njc4OTAxMjM0NQ==\nlog-server.type = local\nlog-server.local.path = '
                                + os.path.join(self.project, 'logs') + '\n'))
        self.connection = http.client.HTTPConnection('127.0.0.1', self.one.port, timeout=60)
        self.addCleanup(self.connection.close)
        ask, get = self.ask, lambda path: self.ask('GET', path).json()
        self.assertTrue(get('version/check?client=0.10.5.1')['apiCompatible'])
        files = packed({'w.dig': f'+a:\n  echo>: 1\n+b:\n  sh>: test -e {self.project}/mended\n+slow:\n  sh>: test ${{session_date}} != 2026-05-06 || exec sleep 600\n',
                        'daily.dig': 'timezone: Asia/Tokyo\nschedule:\n  daily>: 00:00:00\n+a:\n  echo>: 1\n'})
        project = ask('PUT', 'projects?project=p&revision=r1&schedule_from=2031-01-01T00%3A00%3A00Z', files).json()['id']
        self.assertEqual(get('projects?name=p')['projects'][0]['id'], project)
        self.assertEqual(ask('GET', f'projects/{project}/archive?revision=r1').body, files)
        self.assertEqual(len(get('projects?count=100')['projects']), 1)
        self.assertEqual(len(get('workflows?count=100&order=asc')['workflows']), 2)
        workflow = get(f'projects/{project}/workflows?name=w&revision=r1')['workflows'][0]['id']
        self.assertEqual(get(f'workflows/{workflow}/truncated_session_time?session_time=2026-05-05T00%3A00&mode=day')['sessionTime'], '2026-05-05T00:00:00+00:00')
        get(f'workflows/{workflow}/truncated_session_time?session_time=2026-11-21T00%3A26%3A54.071809469Z&mode=hour')

        def start(time, name='null', resume='null'):
            return ask('PUT', 'attempts', f'{{"workflowId":"{workflow}","sessionTime":"{time}","retryAttemptName":{name},"resume":{resume},"params":{{"a":"b"}}}}').json()

        failed = self.ended(start('2026-05-05T00:00:00Z'))
        self.assertEqual(failed['status'], 'error')
        self.file('mended', '')
        get(f'attempts/{failed["id"]}')
        for name, resume in (('"n1"', '{"mode":"failed","mode":"failed","attemptId":"%s"}'), ('"n2"', '{"mode":"from","mode":"from","from":"+w+b","attemptId":"%s"}')):
            self.assertEqual(self.ended(start('2026-05-05T00:00:00Z', name, resume % failed['id']))['status'], 'success')
        slow = start('2026-05-06T00:00:00Z')['id']
        ask('POST', f'attempts/{slow}/kill', '{}')
        self.assertEqual(self.ended({'id': slow})['status'], 'killed')

        session = failed['sessionId']
        self.assertEqual(len(get('sessions')['sessions']), 2)
        self.assertEqual(len(get(f'projects/{project}/sessions?workflow=w&last_id=99&page_size=10')['sessions']), 2)
        self.assertEqual(get(f'sessions/{session}')['lastAttempt']['retryAttemptName'], 'n2')
        self.assertEqual([one['index'] for one in get(f'sessions/{session}/attempts?page_size=2')['attempts']], [3, 2])
        self.assertEqual(len(get('attempts')['attempts']), 2)
        self.assertTrue(get(f'attempts/{failed["id"]}/tasks')['tasks'])
        logs = get(f'logs/{failed["id"]}/files?task=%2Bw%2Ba')['files']
        ask('GET', f'logs/{failed["id"]}/files/{logs[0]["fileName"]}')

        [schedule] = [one['id'] for one in get(f'projects/{project}/schedules?workflow=daily')['schedules']]
        self.assertEqual(get(f'projects/{project}/schedules?last_id={schedule}')['schedules'], [])
        for action in ('disable', 'enable'):
            ask('POST', f'schedules/{schedule}/{action}', '{}')
        for body in ('{"count":2,"fromTime":"2031-01-02T00:00:00Z","nextTime":null,"nextRunTime":null,"dryRun":false}',
                     '{"count":null,"fromTime":null,"nextTime":"2031-05-04T15:00:00Z","nextRunTime":null,"dryRun":false}'):
            ask('POST', f'schedules/{schedule}/skip', body)
        get(f'schedules/{schedule}')
        filled = ask('POST', f'schedules/{schedule}/backfill', '{"fromTime":"2031-05-01T00:00:00Z","dryRun":false,"attemptName":"n1","count":2}').json()
        self.assertEqual(len(filled['attempts']), 2)

        ask('PUT', f'projects/{project}/secrets/k', '{"value":"v"}')
        self.assertEqual([one['key'] for one in get(f'projects/{project}/secrets')['secrets']], ['k'])
        ask('DELETE', f'projects/{project}/secrets/k')
        ask('DELETE', f'projects/{project}')


if __name__ == '__main__':
    unittest.main()
