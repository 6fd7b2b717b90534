#!/usr/bin/env python3
"""`digdag server`: its options and configuration, what it says when it starts and ends."""
import json
import os
import re
import signal
import socket
import unittest

from rest import ECHO, GZIP, RestTest, packed
from running import ServerTest


class CommandLine(ServerTest):
    # cli 11.105, server 23.1, 23.2
    def test_a_database_must_be_named(self):
        self.assert_error(self.digdag('server'), '--database, --memory, or --config option is required')
        self.assert_error(self.digdag('server', '-m', '-o', 'data'), 'Setting both --database and --memory is invalid')

    def test_it_says_which_database_it_uses(self):
        _, log, _ = self.server('-m').end()
        self.assertRegex(log, r'(?m)server: database: memory$')
        _, log, _ = self.server('-o', 'data').end()
        self.assertRegex(log, r'(?m)server: database: SQLite at \S+/data/digdag.sqlite$')

    # server 23.3
    def test_positional_words_show_the_usage(self):
        done = self.digdag('server', 'now')
        self.assertEqual(done.code, 0)
        self.assertIn('Usage: digdag server', done.err)
        self.assertNotRegex(done.err, '(?m)^error:')

    def test_wrong_options_show_its_own_usage(self):
        for words in ([], ['-m', '-o', 'db']):
            done = self.digdag('server', *words)
            self.assert_error(done, 'Usage: digdag server')
            self.assertNotIn('Server-mode commands', done.err)

    # server 23.1, 23.6, 23.7
    def test_it_says_where_it_listens(self):
        server = self.server('-m', admin=True)
        self.assertEqual(server.info, {'local_addresses': [{'host': '127.0.0.1', 'port': server.port}],
                                       'local_admin_addresses': [{'host': '127.0.0.1', 'port': server.admin_port}]})
        _, log, _ = server.end()
        self.assertIn('secret encryption engine: disabled', log)
        self.assertIn('Starting server on 127.0.0.1:0, 127.0.0.1:0', log)
        self.assertIn(f'Bound on 127.0.0.1:{server.port} (api)', log)
        self.assertIn(f'Bound on 127.0.0.1:{server.admin_port} (admin)', log)

    def test_it_says_why_it_cannot_write_where_it_listens(self):
        self.start('server', '-m', '-n', '0', '-L', f'{self.project}/log', '-X', f'server.runtime-info.path={self.project}/none/info')
        warning = f'Cannot write server.runtime-info.path: {self.project}/none/info: No such file or directory\n'
        self.wait_for('the warning', lambda: self.exists('log') and warning in self.content('log'))

    # cli 11.106
    def test_headers_of_the_command_line_are_in_every_answer(self):
        server = self.server('-m', '-H', 'X-A=b', '-H', 'X-C=d=e')
        for path in ('/api/version', '/api/projects/1'):
            answer = server.get(path)
            self.assertEqual((answer.headers['X-A'], answer.headers['X-C']), ('b', 'd=e'))

    # server 23.8, 23.9, 23.10
    def test_a_key_of_the_environment_wins_over_the_default_file_and_loses_against_X(self):
        self.environment['DIGDAG_CONFIG'] = 'server.http.headers.X-A = environment\nserver.http.headers.X-B: \\u0065nvironment\n'
        self.environment['DIGDAG_CONFIG_HOME'] = self.project
        self.file('config', ''.join(f'server.http.headers.X-{name} = default\n' for name in 'ABC'))
        shown = lambda server: [server.get('/api/version').headers[f'X-{name}'] for name in 'ABC']  # noqa: E731
        self.assertEqual(shown(self.server('-m', '-X', 'server.http.headers.X-A=given')), ['given', 'environment', 'default'])
        self.assertEqual(shown(self.server(*self.config('server.http.headers.X-A = file\n'))), ['file', 'environment', None])

    # server 23.8
    def test_an_option_wins_over_the_file_and_the_file_over_X(self):
        server = self.server(*self.config('database.type = memory\nserver.http.headers.X-A = file\nserver.http.headers.X-B = file\n'),
                             '-X', 'server.http.headers.X-A=given', '-H', 'X-B=option')
        answer = server.get('/api/version')
        self.assertEqual((answer.headers['X-A'], answer.headers['X-B']), ('file', 'option'))

    # cli 11.116
    def test_a_port_that_is_taken_is_an_error(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            done = self.digdag('server', '-m', '-n', str(taken.getsockname()[1]))
        self.assert_error(done, '127.0.0.1')


class Configuration(ServerTest):
    # decisions V-01, server 23.4
    def test_without_a_database_everything_is_lost_at_exit(self):
        _, log, _ = self.server(*self.config('server.port = 0\n')).end()
        self.assertRegex(log, r'\[WARN\].*all data is lost at exit')

    # decisions V-02, V-05
    def test_keys_that_do_nothing_are_told(self):
        _, log, _ = self.server(*self.config('database.type = memory\nserver.prot = 1\nserver.jmx.port = 9000\n'
                                             'server.authenticator-class = com.example.A\n')).end()
        self.assertRegex(log, r"\[WARN\].*Unknown configuration key 'server.prot'; did you mean 'server.port'\?")
        self.assertRegex(log, r"\[WARN\].*Configuration key 'server.jmx.port' is ignored")
        self.assertRegex(log, r'\[ERROR\].*server.authenticator-class is ignored')

    # decisions V-03, server 23.5, 23.28, 23.30, 23.58, 23.74
    def test_wrong_values_are_errors_at_the_start(self):
        for line, text in (('server.port = abc', 'server.port'), ('agent.enabled = maybe', 'agent.enabled'),
                           ('executor.attempt_ttl = 7', 'executor.attempt_ttl'), ('metrics.enable = foo', 'metrics.enable: foo'), ('database.type = mysql', 'Unknown database.type: mysql'),
                           ('archive.type = tape', 'Unknown storage type: tape'), ('log-server.type = tape', 'Unknown storage type: tape'),
                           ('server.tls.cert = cert.pem', 'server.tls.cert'), ('digdag.secret-encryption-key = abc', 'secret-encryption-key'),
                           ('api.max_attempts_page_size = -1', 'api.max_attempts_page_size'), ('server.authenticator.type = ldap', 'ldap')):
            with self.subTest(line):
                self.assert_error(self.digdag('server', *self.config(('' if 'database' in line else 'database.type = memory\n') + line + '\n')), text)

    # decisions V-10
    def test_a_server_that_others_can_reach_asks_who_they_are(self):
        done = self.digdag('server', '-m', '-b', '0.0.0.0', '-n', '0')
        self.assert_error(done, 'server.allow-unauthenticated')
        _, log, _ = self.server('-m', '-b', '0.0.0.0', '--allow-unauthenticated').end()
        self.assertIn('[WARN]', log)

    def test_page_limits_are_those_of_the_configuration(self):
        server = self.server(*self.config('database.type = memory\napi.max_sessions_page_size = 5\napi.max_attempts_page_size = 7\n'))
        self.assertEqual(server.get('/api/sessions?page_size=5').status, 200)
        self.assertIn('larger than MAX_PAGE_SIZE: 5', server.get('/api/sessions?page_size=6').message)
        self.assertIn('larger than MAX_PAGE_SIZE: 7', server.get('/api/attempts?page_size=8').message)


class Shutdown(ServerTest):
    # decisions V-67, server 23.70
    def test_sigterm_ends_it_in_the_order_that_scripts_read(self):
        server = self.server()
        self.assertEqual(server.get('/api/version').status, 200)
        code, log, _ = server.end()
        self.assertEqual(code, 143)
        self.assertEqual(re.findall(r'\(shutdown\) \S+: (.*)', log),
                         ['Started shutdown process', 'Shutting down workflow executor loop', 'Closing HTTP listening sockets',
                          'Waiting for completion of running HTTP requests...', 'Shutting down HTTP worker threads', 'Shutting down system',
                          'Shutdown completed'])
        self.assertEqual(log.count('Closing HTTP listening sockets'), 1)

    def test_ctrl_c_ends_it_too(self):
        self.assertEqual(self.server().end(signal.SIGINT)[0], 130)


class TemporaryFiles(ServerTest):
    def setUp(self):
        super().setUp()
        self.scratch = os.path.join(self.project, 'scratch')
        os.mkdir(self.scratch)
        self.environment['TMPDIR'] = self.scratch

    def left(self):
        return sorted(os.listdir(self.scratch))

    def test_they_go_with_the_server(self):
        server = self.server()
        self.assertEqual(len(self.left()), 1)
        server.end()
        self.assertEqual(self.left(), [])

    # decisions V-09
    def test_what_a_killed_server_has_left_the_next_one_removes(self):
        killed, living = self.server(), self.server()
        before = set(self.left())
        killed.end(signal.SIGKILL)
        os.makedirs(os.path.join(self.scratch, 'digdag-tempdir1234567890'))  # of a Java server, which may run
        following = self.server()
        self.wait_for('what was left to be gone', lambda: not before <= set(self.left()))
        self.assertEqual(len(before & set(self.left())), 1)
        living.end()
        following.end()
        self.assertEqual(self.left(), ['digdag-tempdir1234567890'])


class Operations(ServerTest):
    # decisions R-33
    def test_health_and_readiness_need_no_credentials_and_metrics_do(self):
        server = self.server(*self.config('database.type = memory\nserver.authenticator.basic.username = ann\n'
                                          'server.authenticator.basic.password = s3cret\n'), admin=True)
        self.assertEqual(server.get('/api/health').json(), {'status': 'ok'})
        self.wait_for('the server to be ready', lambda: server.get('/api/ready').status == 200)
        self.assertEqual(server.get('/api/ready').json(), {'status': 'ready'})
        self.assertEqual(server.get('/metrics').status, 401)
        known = {'Authorization': 'Basic YW5uOnMzY3JldA=='}
        for answer in (server.get('/metrics', headers=known), server.get('/metrics', port=server.admin_port)):
            self.assertEqual(answer.status, 200)
            self.assertRegex(answer.body.decode(), r'(?m)^digdag_http_requests_total\{method="GET",status="200"\} \d+$')
            self.assertRegex(answer.body.decode(), r'(?m)^process_resident_memory_bytes \d+')

    # decisions R-33
    def test_metrics_are_not_shown_to_everybody(self):
        server = self.server('-m', admin=True)
        self.assertEqual(server.get('/metrics').status, 404)
        self.assertEqual(server.get('/metrics', port=server.admin_port).status, 200)


class AccessLog(ServerTest):
    # server 23.17, 23.18
    def test_each_request_is_a_line(self):
        server = self.server('-m', '-A', os.path.join(self.project, 'new', 'logs'))
        server.get('/api/version?a=b', headers={'User-Agent': 'me', 'X-Forwarded-For': '10.0.0.1'})
        server.get('/api/nowhere')
        server.send('PUT', '/api/attempts', {})
        server.end()
        lines = [json.loads(line) for line in self.content('new/logs/access.log').splitlines()]
        self.assertEqual([list(line) for line in lines], [['time', 'host', 'forwardedfor', 'method', 'uri', 'protocol', 'status', 'size', 'referer', 'ua', 'vhost', 'reqtime']] * 3)
        self.assertEqual([(line['method'], line['uri'], line['status']) for line in lines],
                         [('GET', '/api/version?a=b', '200'), ('GET', '/api/nowhere', '404'), ('PUT', '/api/attempts', '400')])
        self.assertEqual([lines[0][key] for key in ('forwardedfor', 'referer', 'ua', 'vhost')], ['10.0.0.1', None, 'me', f'127.0.0.1:{server.port}'])

    # server 23.19
    def test_its_lines_may_be_others(self):
        server = self.server('-m', '-A', self.project, '-X', 'server.access-log.pattern=json{a:%m b:%s}')
        server.get('/api/version')
        server.end()
        self.assertEqual(self.content('access.log'), '{"a":"GET","b":"200"}\n')


class Access(RestTest):
    # server 23.24, 23.25, 23.26, 23.27, 23.29, rest-api 18.104, 18.105
    def test_who_may_ask_what_where(self):
        self.one = self.server(*self.config('server.authenticator.basic.username = ann\nserver.authenticator.basic.password = s3cret\n'), admin=True)
        ann, wrong = {'Authorization': 'Basic YW5uOnMzY3JldA=='}, {'Authorization': 'Basic YW5uOndyb25n'}
        ask = lambda method, path, headers=None, port=None: self.one.ask(method, path, headers=headers, port=port)  # noqa: E731
        self.assertEqual(self.get('/api/version').status, 200)
        for path in ('/api/version/', '/api/version/check?client=1', '/api/projects', '/api/nowhere', '/api/projects/abc'):
            answer = self.get(path)
            self.assertEqual((answer.status, answer.json()), (401, {'message': 'Missing Authorization header', 'status': 401}), path)
        self.assertEqual(ask('GET', '/api/projects', wrong).json(), {'message': 'unauthorized', 'status': 401})
        for method, path in (('OPTIONS', '/api/projects'), ('TRACE', '/api/projects')):
            self.assertEqual(ask(method, path).status, 200)
        self.assertEqual(self.one.ask('PUT', '/api/projects?project=p&revision=r', packed({'w.dig': ECHO}), {**GZIP, **ann}).status, 200)
        started = self.one.send('PUT', '/api/attempts', {'workflowId': '1', 'sessionTime': '2026-01-01T00:00:00Z', 'params': {}}, **ann)
        self.assertEqual(started.status, 200)
        user = f'/api/admin/attempts/{started.json()["id"]}/userinfo'
        self.assertEqual((ask('GET', user, ann).status, ask('GET', user, port=self.one.admin_port).status), (404, 401))
        answer = ask('GET', user, ann, self.one.admin_port)
        self.assertEqual((answer.status, answer.json()), (200, {}))
        nobody = self.server('-m', admin=True)
        self.assertEqual(nobody.get('/api/projects').status, 200)
        self.assertEqual(nobody.get('/api/admin/attempts/1/userinfo', port=nobody.admin_port).status, 403)

    # server 23.15, rest-api 18.106
    def test_given_headers_are_in_answers_of_the_api_alone(self):
        self.begin('-H', 'X-A=b', *self.config('server.http.headers.X-C = D\n'))
        self.pushed({'w.dig': ECHO})
        answers = [self.get('/api/projects'), self.get('/api/projects/9'), self.put('w'), self.put('w')]
        self.assertEqual([answer.status for answer in answers], [200, 404, 200, 409])
        for answer in answers:
            self.assertEqual((answer.headers['X-A'], answer.headers['X-C']), ('b', 'D'))
        self.assertEqual((self.get('/').headers['X-A'], self.get('/').headers['X-C']), (None, None))

    # server 23.60
    def test_the_limit_of_an_archive_can_be_set(self):
        self.begin(*self.config('api.max_archive_total_size_limit = 1000\n'))
        self.refused(self.push({'w.dig': ECHO, 'big': 'x' * 1001}), 400, 'Size of a file in the archive exceeds limit (1001 > 1000 bytes): big')
        self.refused(self.push({'w.dig': ECHO, 'a': 'x' * 600, 'b': 'x' * 600}), 400, 'Total size of the archive exceeds limit')
        self.refused(self.push({'w.dig': ECHO, 'noise': os.urandom(900)}), 400, 'Size of the uploaded archive file exceeds limit (1000 bytes)')
        self.pushed({'w.dig': ECHO})


class Swagger(ServerTest):
    # server 23.75, rest-api 14
    def test_the_routes_are_described_where_that_is_asked_for(self):
        self.assertEqual(self.server('-m').get('/api/swagger.json').status, 404)
        server = self.server('-m', '--enable-swagger')
        document = server.get('/api/swagger.json').json()
        self.assertEqual((document['swagger'], document['info']['title']), ('2.0', 'digdag'))
        kill = document['paths']['/api/attempts/{id}/kill']['post']
        self.assertEqual(kill['parameters'], [{'name': 'id', 'in': 'path', 'required': True, 'type': 'integer', 'format': 'int64'}])
        self.assertEqual(document['paths']['/api/projects']['put']['consumes'], ['application/gzip'])
        self.assertEqual(sorted(document['paths']['/api/projects/{id}']), ['delete', 'get'])
        yaml = server.get('/api/swagger.yaml')
        self.assertEqual((yaml.headers['Content-Type'], yaml.json()), ('application/yaml', document))


class Errors(ServerTest):
    # decisions
    def test_bodies_that_are_none_are_named(self):
        server = self.server()
        for body, text in (('', 'empty'), ('[1]', 'JSON object'), ('{"workflowId": ', ''), ('{"workflowId": "1"}', 'some of required attributes are not set [sessionTime, params]'),
                           ('{"workflowId": "1", "sessionTime": "2026-03-06", "params": {}}', 'Invalid ISO time format: 2026-03-06'),
                           ('{"workflowId": "1", "sessionTime": "2026-03-06T00:00:00Z", "params": []}', "'params'"),
                           ('{"workflowId": "1", "sessionTime": "2026-03-06T00:00:00Z", "params": {}, "retryAttemptName": "a\\u0000"}', 'NUL')):
            answer = server.ask('PUT', '/api/attempts', body, {'Content-Type': 'application/json'})
            self.assertEqual(answer.status, 400, body)
            self.assertEqual(list(answer.json()), ['message', 'status'])
            self.assertIn(text, answer.message)
            self.assertNotRegex(answer.message, r'io\.digdag|/src/|RESTEASY')

    def test_a_deep_body_is_refused(self):
        answer = self.server().ask('PUT', '/api/attempts', '{"params":' + '[' * 100000, {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 400)


if __name__ == '__main__':
    unittest.main()
