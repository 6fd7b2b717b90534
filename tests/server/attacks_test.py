#!/usr/bin/env python3
"""What hostile clients send: each gets its refusal with a reason, nothing is harmed, and the server goes on in little memory."""
import collections
import concurrent.futures
import gzip
import io
import json
import os
import re
import socket
import tarfile
import unittest
import urllib.parse

from running import ServerTest

MOST_MEMORY = 400 << 20  # bytes; a healthy server takes a tenth
WORKFLOW = b'+a:\n  echo>: 1\n'
JSON = {'Content-Type': 'application/json'}
GZIP = {'Content-Type': 'application/gzip'}
IDS = ['-1', '0', '9223372036854775807', '9223372036854775808', '9' * 60, '1e3', '0x1', '1;drop%20table%20tasks', "1'--", '%00', '1%00', '%ff', '..%2f1']


def entry(name, kind=tarfile.REGTYPE, content=b'', link='', size=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if size is None else size
    info.devmajor = info.devminor = 1
    return info.tobuf(tarfile.GNU_FORMAT) + content + b'\0' * (-len(content) % 512)


def archive(*entries):
    """A tar whose headers say what they like."""
    return gzip.compress(b''.join(entries) + b'\0' * 1024)


class Attacks(ServerTest):
    def setUp(self):
        super().setUp()
        self.under_attack = self.server('-m')

    def tearDown(self):
        self.assertEqual(self.under_attack.get('/api/version').status, 200)
        with open(f'/proc/{self.under_attack.process.pid}/status', encoding='ascii') as status:
            peak = int(re.search(r'VmHWM:\s+(\d+) kB', status.read())[1]) << 10
        self.assertLess(peak, MOST_MEMORY)
        code, log, _ = self.under_attack.end()
        self.assertEqual(code, 143)  # by the signal, not by itself
        self.assertNotIn('Internal error', log)
        super().tearDown()

    def ask(self, method, path, body=None, **headers):
        return self.under_attack.ask(method, path, body, {name.replace('_', '-'): value for name, value in headers.items()})

    def put(self, path, body, headers):
        return self.under_attack.ask('PUT', path, body, headers)

    def assert_refused(self, answer, about, *statuses):
        self.assertIn(answer.status, statuses or range(400, 500), (about, answer.body[:300]))
        if answer.status not in (404, 405):
            self.assertTrue(answer.message, about)

    def raw(self, data, half=False):
        """What comes back until the server closes."""
        with socket.create_connection(('127.0.0.1', self.under_attack.port), timeout=30) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # it has refused already
            if half:
                connection.shutdown(socket.SHUT_WR)
            answer = b''
            try:
                while part := connection.recv(1 << 16):
                    answer += part
            except ConnectionError:
                pass
            return answer

    def push(self, name='p', content=WORKFLOW):
        answer = self.put(f'/api/projects?project={name}&revision=r', archive(entry('w.dig', content=content)), GZIP)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()['id']


class Requests(Attacks):
    def test_malformed_requests(self):
        head = b'PUT /api/attempts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
        for status, data in [
                (431, b'GET /' + b'a' * 200_000 + b' HTTP/1.1\r\n\r\n'),
                (431, b'GET /api/version HTTP/1.1\r\nHost: x\r\nX: ' + b'a' * (1 << 20) + b'\r\n\r\n'),
                (431, b'GET /api/version HTTP/1.1\r\n' + b''.join(b'X-%d: y\r\n' % i for i in range(20_000)) + b'\r\n'),
                (400, b'GET /api/version HTTP/1.1\r\nHost: a\0b\r\n\r\n'),
                (400, head + b'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x'),
                (400, head + b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
                (413, head + b'Content-Length: 99999999999999\r\n\r\n{}'),
                (400, head + b'Content-Length: -1\r\n\r\n'),
                (400, head + b'Transfer-Encoding: chunked\r\n\r\nZZ\r\n')]:
            answer = self.raw(data, half=True)
            self.assertIn(b' %d ' % status, answer.split(b'\r\n')[0], data[:80])
            self.assertIn(b'"message"', answer, data[:80])

    def test_chunks_without_an_end(self):
        chunk = b'10000\r\n' + b' ' * 0x10000 + b'\r\n'
        answer = self.raw(b'PUT /api/attempts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n' +
                          chunk * 600)
        self.assertIn(b' 413 ', answer.split(b'\r\n')[0])
        self.assertIn(b'exceeds the limit', answer)

    def test_a_chunk_of_which_nothing_comes(self):
        head = b'PUT /api/attempts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'
        answer = self.raw(head + b'FFFFFFFFFFFFFFFF\r\n', half=True)
        self.assertNotIn(b' 200 ', answer.split(b'\r\n')[0])

    def test_many_that_never_end_their_request_keep_nobody_off(self):
        slow = [socket.create_connection(('127.0.0.1', self.under_attack.port)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.sendall(b'PUT /api/attempts HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{' if number % 2 else b'GET /api/ver')
        self.assertEqual(self.under_attack.get('/api/version').status, 200)
        for connection in slow:
            connection.close()

    def test_bodies_that_are_no_json(self):
        self.push()
        for body in (b'\xff\xfe', b'{"a":' * 100_000, b'[' * 1_000_000, b'nan', b'"' + b'a' * 5_000_000, b'', b'[]', b'"x"', b'1',
                     b'{"workflowId":"1","sessionTime":"2026-01-01T00:00:00Z","params":[]}',
                     b'{"workflowId":"1","sessionTime":"2026-01-01T00:00:00Z","params":' + b'{"a":' * 5000 + b'1' + b'}' * 5001):
            self.assert_refused(self.put('/api/attempts', body, JSON), body[:40])

    def test_bodies_of_other_types(self):
        for kind in ('text/plain', 'application/xml', 'multipart/form-data', 'application/x-www-form-urlencoded', '', 'x' * 5000, 'application/json; charset=utf-16'):
            self.assert_refused(self.put('/api/attempts', b'workflowId=1', {'Content-Type': kind}), kind)

    def test_compressed_bombs(self):
        bomb = gzip.compress(b' ' * 300_000_000)
        self.assert_refused(self.put('/api/attempts', bomb, {**JSON, 'Content-Encoding': 'gzip'}), 'gzip', 413)
        self.assert_refused(self.put('/api/attempts', bomb[:-9], {**JSON, 'Content-Encoding': 'gzip'}), 'cut gzip', 400, 413)
        self.assert_refused(self.put('/api/attempts', b'abcde', {**JSON, 'Content-Encoding': 'gzip'}), 'no gzip', 400)
        self.assert_refused(self.put('/api/attempts', b'{}', {**JSON, 'Content-Encoding': 'br'}), 'unknown', 400, 415)

    def test_ids_that_nobody_gave(self):
        self.push()
        for path in ('attempts/%s', 'attempts/%s/tasks', 'attempts/%s/retries', 'projects/%s', 'projects/%s/archive', 'projects/%s/secrets',
                     'workflows/%s', 'sessions/%s', 'sessions/%s/attempts', 'schedules/%s', 'logs/%s/files', 'v2/attempts/%s/logs'):
            for wrong in IDS:
                answer = self.ask('GET', '/api/' + path % wrong)
                if path != 'sessions/%s/attempts' or answer.status != 200:  # of a session that does not exist: an empty list
                    self.assert_refused(answer, (path, wrong))
        for path in ('attempts/%s/kill', 'schedules/%s/disable'):
            for wrong in IDS:
                self.assert_refused(self.ask('POST', '/api/' + path % wrong, '{}', Content_Type='application/json'), (path, wrong))

    def test_parameters_of_lists(self):
        self.push()
        for path in ('attempts', 'sessions', 'projects', 'workflows', 'schedules'):
            for query in [f'{name}={value}' for name in ('last_id', 'page_size', 'count') for value in IDS]:
                answer = self.ask('GET', f'/api/{path}?{query}')
                self.assertTrue(answer.status == 200 or 400 <= answer.status < 500, (path, query, answer.status, answer.body[:200]))
                if answer.status == 200:
                    self.assertLess(len(answer.body), 10_000)

    def test_sessions_that_cannot_be(self):
        self.push()
        good = {'workflowId': '1', 'sessionTime': '2026-01-01T00:00:00Z', 'params': {}}
        for key, value in [('sessionTime', '+999999999-12-31T23:59:59Z'), ('sessionTime', ''), ('sessionTime', 'now'), ('sessionTime', {}),
                           ('workflowId', '9223372036854775808'), ('workflowId', 1.5), ('workflowId', None), ('workflowId', '1 or 1=1'),
                           ('params', None), ('retryAttemptName', 'a' * 5000),
                           ('resume', []), ('resume', {'mode': 'failed', 'attemptId': 'x'}),
                           ('resume', {'mode': 'from', 'attemptId': '1', 'from': '\0'}), ('resume', {'mode': 'failed', 'attemptId': '99'})]:
            self.assert_refused(self.put('/api/attempts', json.dumps({**good, key: value}), JSON), (key, value))


class Names(Attacks):
    def test_names_that_look_like_sql_are_names(self):
        name = "x'; drop table projects; --"
        self.assertEqual(self.put('/api/projects?' + urllib.parse.urlencode({'project': name, 'revision': '"; delete from revisions'}),
                                  archive(entry('w.dig', content=WORKFLOW)), GZIP).status, 200)
        found = self.ask('GET', '/api/projects?' + urllib.parse.urlencode({'name': name})).json()['projects']
        self.assertEqual([project['name'] for project in found], [name])
        self.assertEqual(self.ask('GET', "/api/projects?name='%20or%201=1--").json()['projects'], [])
        self.assertEqual(self.ask('GET', "/api/projects?name_pattern=%25").json()['projects'], [])

    def test_names_that_cannot_be(self):
        for project, revision in [('', 'r'), ('a', ''), ('a%00', 'r'), ('a', '%00'), ('x' * 5000, 'r'), ('a', 'x' * 5000)]:
            self.assert_refused(self.put(f'/api/projects?project={project}&revision={revision}', archive(entry('w.dig', content=WORKFLOW)), GZIP),
                                (project[:9], revision[:9]))

    def test_paths_of_logs_lead_nowhere_else(self):
        self.file('secret', 'do not read')
        self.push()
        started = self.under_attack.send('PUT', '/api/attempts', {'workflowId': '1', 'sessionTime': '2026-01-01T00:00:00Z', 'params': {}})
        self.assertEqual(started.status, 200, started.body)
        attempt = started.json()['id']
        for name in ('..', '%2e%2e', '..%2f..%2fetc%2fpasswd', '%2Fetc%2Fpasswd', '....//', '.', '.spool', 'a%00b', '%ff', 'x' * 5000, 'a%5c..%5cb',
                     '..%2fsecret', urllib.parse.quote(os.path.join(self.project, 'secret'), safe='')):
            self.assert_refused(self.ask('GET', f'/api/logs/{attempt}/files/{name}'), name)
        for task in ('%00', '..', '%2e%2e%2f'):
            answer = self.ask('GET', f'/api/logs/{attempt}/files?task={task}')
            self.assertTrue(answer.status == 400 or answer.json() == {'files': []}, (task, answer.body))


class Archives(Attacks):
    def refuse(self, about, packed, *statuses):
        self.assert_refused(self.put('/api/projects?project=x&revision=r', packed, GZIP), about, *statuses)

    def test_entries_that_lead_out_of_the_project(self):
        good = entry('w.dig', content=WORKFLOW)
        for about, *entries in [
                ('up', entry('../x', content=b'1')), ('up inside', entry('a/../../x', content=b'1')), ('absolute', entry('/etc/x', content=b'1')),
                ('link up', entry('l', tarfile.SYMTYPE, link='../../etc/passwd')), ('absolute link', entry('l', tarfile.SYMTYPE, link='/etc/passwd')),
                ('through a link', entry('d', tarfile.SYMTYPE, link='/tmp'), entry('d/x', content=b'1')),
                ('hard link', entry('h', tarfile.LNKTYPE, link='../../../etc/passwd')),
                ('device', entry('dev', tarfile.CHRTYPE)), ('block device', entry('dev', tarfile.BLKTYPE)), ('fifo', entry('f', tarfile.FIFOTYPE)),
                ('deep', entry('a/' * 40 + 'x' * 19, content=b'1'), entry('a/' * 49 + '../../x'))]:
            self.refuse(about, archive(good, *entries), 400)
        self.assertEqual(self.ask('GET', '/api/projects').json()['projects'], [])

    def test_archives_that_are_none(self):
        whole = archive(entry('w.dig', content=WORKFLOW))
        for about, packed in [('text', b'hello'), ('nothing', b''), ('cut', whole[:-20]), ('gzip of text', gzip.compress(b'hello' * 500)),
                              ('size of the sky', archive(entry('big', size=8 << 30))), ('cut entry', gzip.compress(entry('w.dig', size=5000)))]:
            self.refuse(about, packed, 400, 413)

    def test_workflows_that_grow(self):
        nine = b''.join(b'%c: &%c [%s]\n' % (98 + i, 98 + i, b','.join([b'*%c' % (97 + i)] * 9)) for i in range(9))
        for about, content in [('aliases', b'a: &a [' + b'x,' * 8 + b'x]\n' + nine), ('depth', b'[' * 100_000), ('NUL', b'+a:\n  echo>: "\0"\n')]:
            self.refuse(about, archive(entry('w.dig', content=content)), 400)

    def test_an_archive_that_unpacks_to_more_than_it_may(self):
        bomb = gzip.compress(entry('zeros', size=6 << 30)[:512] + b'\0' * (256 << 20), 9)
        self.refuse('bomb', bomb, 400, 413)


class ManyAtOnce(Attacks):
    def test_a_thousand_revisions_of_one_project_at_the_same_time(self):
        packed = archive(entry('w.dig', content=WORKFLOW))
        with concurrent.futures.ThreadPoolExecutor(50) as clients:
            answers = collections.Counter(
                clients.map(lambda number: self.put(f'/api/projects?project=p&revision=r{number}', packed, GZIP).status, range(1000)))
        self.assertLessEqual(set(answers), {200, 503}, answers)
        project = self.ask('GET', '/api/projects?name=p').json()['projects'][0]['id']
        kept = sum(1 for number in range(1000) if self.ask('GET', f'/api/projects/{project}/revisions?name=r{number}').json()['revisions'])
        self.assertEqual(kept, answers[200])

    def test_the_same_session_a_hundred_times(self):
        self.push()
        wanted = json.dumps({'workflowId': '1', 'sessionTime': '2026-01-01T00:00:00Z', 'params': {}})
        with concurrent.futures.ThreadPoolExecutor(30) as clients:
            answers = collections.Counter(clients.map(lambda _: self.put('/api/attempts', wanted, JSON).status, range(100)))
        self.assertEqual(answers, {200: 1, 409: 99})


class Pages(Attacks):
    """What a web page makes a browser send to a server on the same machine."""

    def test_writes_of_a_page_of_another_origin(self):
        self.push()
        here = f'127.0.0.1:{self.under_attack.port}'
        for headers in ({'Origin': 'http://evil.example'}, {'Origin': 'null'}, {'Sec-Fetch-Site': 'cross-site'}, {'Origin': 'http://' + here + '.evil.example'},
                        {'Origin': f'https://evil.example:{self.under_attack.port}', 'Host': here}, {'Origin': 'http://evil.example', 'Sec-Fetch-Site': 'cross-site'}):
            for method, path in [('PUT', '/api/attempts'), ('POST', '/api/attempts/1/kill'), ('DELETE', '/api/projects/1'), ('PUT', '/api/projects?project=x&revision=r')]:
                self.assert_refused(self.under_attack.ask(method, path, '{}', {**JSON, **headers}), (headers, path), 403)
        self.assertEqual(len(self.ask('GET', '/api/projects').json()['projects']), 1)

    def test_answers_are_for_pages_of_the_same_origin(self):
        answer = self.ask('GET', '/api/projects', Origin='http://evil.example')
        self.assertNotIn('Access-Control-Allow-Origin', answer.headers)

    def test_methods_that_nobody_offers(self):
        for method in ('PATCH', 'FOO', 'CONNECT', 'DELETE', 'POST'):
            self.assert_refused(self.ask(method, '/api/attempts'), method)


if __name__ == '__main__':
    unittest.main()
