#!/usr/bin/env python3
"""What all commands share that talk to a server: how they find it, what they send, what they make of its refusals."""
import os
import unittest

from fake_server import ClientTest
from program import Terminal

PROJECT = {'id': '1', 'name': 'myproj', 'revision': 'r1', 'createdAt': '2026-01-02T03:04:05Z', 'updatedAt': '2026-01-03T03:04:05Z',
           'deletedAt': None, 'archiveType': 'db', 'archiveMd5': None}
CLOSED = '127.0.0.1:9'


class AllClientsTest(ClientTest):
    answers = {'GET /api/projects': {'projects': []}}

    # cli 11.98
    def test_the_endpoint_is_named_by_an_option_or_the_configuration(self):
        address = self.server.endpoint.removeprefix('http://')
        self.file('c.properties', f'client.http.endpoint = {self.server.endpoint}\n')
        for words in (['-e', address], ['-e', self.server.endpoint + '/'], ['-c', 'c.properties'], ['-X', f'client.http.endpoint={address}']):
            done = self.digdag('version', *words)
            self.assertEqual((done.code, done.out.splitlines()[1]), (0, 'Server version: 9.9'), done.err)
        self.assert_error(self.digdag('projects', '-e', 'ftp://x'), 'error: Endpoint must start with http:// or https://: ftp://x')

    # cli 11.99, 11.104
    def test_a_server_that_is_not_there_is_said_so(self):
        done = self.digdag('projects', '-e', CLOSED)
        self.assert_error(done, f'error: cannot reach http://{CLOSED}/api/version/check', 'Connection refused', 'is the server running?')
        done = self.digdag('version', '-e', CLOSED)
        self.assert_error(done, f'error: cannot reach http://{CLOSED}/api/version (')
        self.assertRegex(done.out, r'^Client version: \S+\nAn error happened during getting Server version.\n$')

    # cli 11.102
    def test_headers_come_from_configuration_options_and_basic_auth(self):
        self.file('c.properties', 'client.http.headers.Authorization = of-file\nclient.http.headers.X-Conf = of-file\n')
        self.client('projects', '-c', 'c.properties', '-H', 'X-A=1,b=2', '-H', 'x-conf=of-option')
        headers = self.server.requests[-1].headers
        self.assertEqual((headers['authorization'], headers['x-conf'], headers['x-a'], headers['b']), ('of-file', 'of-option', '1', '2'))
        self.client('projects', '-c', 'c.properties', '-H', 'Authorization=of-option', '--basic-auth', 'u:p:q')
        self.assertEqual(self.server.requests[-1].headers['authorization'], 'Basic dTpwOnE=')
        self.assert_error(self.client('projects', '--basic-auth', 'u'), 'error: Expected format: username:password')

    # cli 11.103
    def test_a_server_that_wants_another_client_says_so_first(self):
        check = self.server.answers['GET /api/version/check']
        check['apiCompatible'] = False
        self.assert_error(self.client('projects'), 'error: This client version is not API compatible to the server (client: ', 'server: 9.9)')
        self.assertEqual(self.client('projects', '--disable-version-check').code, 0)
        check.update(apiCompatible=True, upgradeRecommended=True)
        done = self.client('projects')
        self.assertEqual((done.code, done.out), (0, 'Projects\n'))
        self.assertRegex(done.err, r'\[WARN\] .*It is recommended to upgrade \(client: \S+, server: 9\.9\)')
        terminal = Terminal(self, 'projects', '-e', self.server.endpoint)
        self.assertEqual(terminal.end(), 1)
        self.assertIn('This client version is obsoleted', terminal.text)
        self.assert_error(self.client('projects', '-X', 'io.digdag.cli.versionCheckMode=x'), 'must be batch or interactive')

    # cli 11.100
    def test_proxies_of_the_environment_are_used_but_for_hosts_of_no_proxy(self):
        done = self.digdag('projects', '-e', 'http://somewhere.invalid', http_proxy=self.server.endpoint.replace('//', '//u:p@'))
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(self.server.requests[-1].headers['proxy-authorization'], 'Basic dTpw')
        self.assertEqual(self.client('projects', http_proxy=f'http://{CLOSED}', no_proxy='127.0.0.1').code, 0)

    def test_requests_of_a_command_share_a_connection(self):
        self.assertEqual(self.client('projects').code, 0)
        self.assertEqual((len(self.server.requests), self.server.connections), (2, 1))

    def test_the_endpoint_may_be_below_a_path(self):
        self.server.answers['GET /prefix/api/version'] = {'version': '9.8'}
        self.assertIn('Server version: 9.8\n', self.digdag('version', '-e', self.server.endpoint + '/prefix/').out)

    def test_a_refusal_shows_what_the_server_said_and_the_request(self):
        self.server.answers['GET /api/projects'] = (403, {'message': 'not yours', 'status': 403})
        self.assert_error(self.client('projects'), 'error: Status code 403: {"message": "not yours", "status": 403}\n'
                          f'> GET {self.server.endpoint}/api/projects?count=100\n')

    def test_who_has_to_log_in_is_told_how(self):
        self.server.answers['GET /api/projects'] = (401, {'message': 'Unauthorized', 'status': 401})
        self.assert_error(self.client('projects'), 'error: Status code 401: ', '\nhint: give --basic-auth USER:PASS')

    def test_an_answer_of_another_server_is_named(self):
        self.server.answers['GET /api/projects'] = b'<html>'
        self.assert_error(self.client('projects'), 'error: The answer is no JSON: <html>', 'is there a digdag server behind this endpoint?')

    def test_the_log_of_a_client_goes_to_standard_error(self):
        done = self.client('projects', '-l', 'debug')
        self.assertEqual(done.out, 'Projects\n')
        self.assertIn('Using endpoint ' + self.server.endpoint, done.err)
        self.assertIn('Using endpoint', self.client('projects', '-l', 'debug', '--log-to', 'stdout').out)


class ProjectsTest(ClientTest):
    answers = {'GET /api/projects': {'projects': [PROJECT]}}

    def test_projects_are_listed(self):
        self.assertEqual(self.client('projects', '--name', 'my', '--last-id', '7').out, '''\
Projects
  name: myproj
  id: 1
  revision: r1
  archive type: db
  project created at: 2026-01-02 03:04:05 +0000
  revision updated at: 2026-01-03 03:04:05 +0000

''')
        self.assertEqual(self.server.asked(), ['GET /api/projects?count=100&last_id=7&name_pattern=my'])

    def test_times_are_shown_as_wanted(self):
        for words, time in (([], '2026-01-02 12:04:05 +0900'), (['--utc'], '2026-01-02 03:04:05 +0000'), (['--iso'], '2026-01-02T12:04:05+09:00'),
                            (['--utc', '--iso'], '2026-01-02T03:04:05Z')):
            self.assertIn(f'  project created at: {time}\n', self.client('projects', *words, TZ='Asia/Tokyo').out)

    def test_lists_are_cut_where_nobody_asks_for_more(self):
        def pages(request):
            first = int(request.query.get('last_id', 0)) + 1
            return {'projects': [{**PROJECT, 'id': str(number)} for number in range(first, min(first + 100, 251))]}
        self.server.answers['GET /api/projects'] = pages
        done = self.client('projects')
        self.assertEqual(done.out.count('  id: '), 100)
        self.assertIn('Only 100 are shown, there may be more. Use --all or --limit N', done.err)
        for words, count in ((['--all'], 250), (['--limit', '120'], 120), (['--limit', '0'], 0)):
            done = self.client('projects', *words)
            self.assertEqual(done.out.count('  id: '), count)
            self.assertNotIn('Only', done.err)
        self.assertEqual(self.client('projects', '--all', '--jsonl').out.count('\n'), 250)
        self.server.answers['GET /api/projects'] = {'projects': [PROJECT]}
        self.assert_error(self.client('projects', '--all'), 'error: The server gives the same page of projects again')

    def test_json_has_the_fields_of_the_rest_api(self):
        done = self.client('projects', '--json')
        self.assertEqual(done.out, '{"projects":[{"id":"1","name":"myproj","revision":"r1","createdAt":"2026-01-02T03:04:05Z",'
                         '"updatedAt":"2026-01-03T03:04:05Z","deletedAt":null,"archiveType":"db","archiveMd5":null}]}\n')

    def test_what_the_server_names_does_nothing_to_a_terminal(self):
        self.server.answers['GET /api/projects'] = {'projects': [{**PROJECT, 'name': 'a\x1b[31m'}]}
        self.assertIn('  name: a\\u001b[31m\n', self.client('projects').out)

    def test_workflows_are_listed_below_their_projects(self):
        project = {'id': '1', 'name': 'myproj'}
        workflow = {'id': '2', 'name': 'main', 'project': project, 'revision': 'r1', 'timezone': 'UTC', 'config': {'+a': {'echo>': 'hi'}}}
        self.server.answers['GET /api/workflows'] = {'workflows': [workflow, {**workflow, 'name': 'other'}]}
        self.server.answers['GET /api/projects/1/workflows'] = {'workflows': [workflow]}
        self.assertEqual(self.client('workflows', '--order', 'desc').out, '  myproj\n    main\n    other\n\n')
        self.assertEqual(self.server.requests[-1].query, {'count': '100', 'order': 'desc'})
        self.assertEqual(self.client('workflows', 'myproj', 'main').out, '"+a":\n  echo>: "hi"\n\n')
        self.server.answers['GET /api/projects/1/workflows'] = {'workflows': [workflow, {**workflow, 'name': 'other'}]}
        self.assertEqual(self.client('workflows', 'myproj', '--limit', '1').out, '  myproj\n    main\n\n')
        self.server.answers['GET /api/projects/1/workflows'] = {'workflows': []}
        self.assert_error(self.client('workflows', 'myproj', 'nope'),
                          'error: Resource not found: workflow not found in the latest revision of project id = 1: nope\n'
                          f'> GET {self.server.endpoint}/api/projects/1/workflows?name=nope\n')

    # cli 11.101
    def test_delete_asks_first(self):
        self.server.answers['DELETE /api/projects/1'] = PROJECT
        for answer, deletes in (('n\n', False), ('', False), ('YES\n', True)):
            self.server.requests.clear()
            self.file('answer', answer)
            done = self.client('delete', 'myproj', stdin=os.path.join(self.project, 'answer'))
            self.assertIn('Are you sure you want to delete this project? [y/N]: ', done.err)
            self.assertEqual('DELETE /api/projects/1' in self.server.asked(), deletes)
            if not deletes:
                self.assert_error(done, 'error: canceled.')
        done = self.client('delete', 'myproj', '--force')
        self.assertIn("Project 'myproj' is deleted.", done.err)
        self.assertTrue(done.out.startswith('Project:\n  id: 1\n  name: myproj\n  latest revision: r1\n  created at: 2026-01-02 03:04:05 +0000\n'))


if __name__ == '__main__':
    unittest.main()
