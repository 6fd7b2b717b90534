#!/usr/bin/env python3
"""Task logs while they are written: `log -f`, `start --follow` and the stream behind them (spec/decisions.md R-30, C-31, V-61)."""
import base64
import glob
import gzip
import json
import os
import re
import unittest

from running import ServerTest

GATED = '+first:\n  sh>: echo one; cat %s; echo two\n+second:\n  echo>: three\n'


class LiveLog(ServerTest):
    def setUp(self):
        super().setUp()
        self.gate = os.path.join(self.project, 'gate')
        os.mkfifo(self.gate)

    def open_gate(self):
        with open(self.gate, 'w', encoding='utf-8') as gate:
            gate.write('through the gate\n')

    def pushed(self, text, *words):
        """A server with the project `p`, whose workflow `w` this is."""
        server = self.server(*words)
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        self.file('p/w.dig', text)
        done = self.digdag('push', 'p', '--project', 'p', '-r', '1')
        self.assertEqual(done.code, 0, done.err)
        return server

    def started(self):
        done = self.digdag('start', 'p', 'w', '--session', '2026-01-02', '--json')
        self.assertEqual(done.code, 0, done.err)
        return json.loads(done.out)['id']

    def local_logs(self):
        return '-m', '-O', os.path.join(self.project, 'logs')

    def frames(self, server, attempt, query=''):
        answer = server.get(f'/api/v2/attempts/{attempt}/logs{query}')
        self.assertEqual((answer.status, answer.headers['Content-Type'], answer.headers['Cache-Control']), (200, 'application/x-ndjson', 'no-store'))
        return [json.loads(line) for line in answer.body.decode().splitlines()]

    def test_it_ends_when_nobody_reads_it_any_more(self):
        last = os.path.join(self.project, 'last')
        os.mkfifo(last)
        self.pushed(f'+a:\n  sh>: echo one; cat {self.gate}; echo two; cat {last}\n', '-m')
        attempt = self.started()
        log = self.start('log', '-f', attempt)
        while log.stdout.readline() != b'one\n':
            self.assertIsNone(log.poll())
        log.stdout.close()
        self.open_gate()
        self.assertEqual(log.wait(timeout=60), 1)
        self.assertNotIn(b'error', log.stderr.read())
        self.assertFalse(json.loads(self.digdag('attempt', attempt, '--json').out)['done'])
        with open(last, 'w', encoding='utf-8'):
            pass

    # decisions R-30, C-31, V-61
    def test_a_line_is_there_while_its_task_runs_whether_logs_are_kept_or_not(self):
        for words in (('-m',), self.local_logs()):
            with self.subTest(words):
                self.pushed(GATED % self.gate, *words)
                log = self.start('log', '-f', self.started())
                while log.stdout.readline() != b'one\n':
                    self.assertIsNone(log.poll())
                self.open_gate()
                out, err = log.communicate(timeout=60)
                self.assertEqual(log.returncode, 0, err)
                self.assertRegex(out.decode(), r'(?s)^through the gate\ntwo\n.* three\n$|^through the gate\ntwo\n.*three\n')

    # decisions R-30
    def test_short_tasks_stand_in_their_order_and_none_is_missing_also_of_an_attempt_that_is_over_at_once(self):
        text = ''.join(f'+t{i}:\n  sh>: echo {i}\n' for i in range(6))
        for words in (('-m',), self.local_logs()):
            with self.subTest(words):
                self.pushed(text, *words)
                for day in range(1, 6):
                    done = self.digdag('start', 'p', 'w', '--session', f'2026-02-0{day}', '--follow')
                    self.assertEqual(re.findall(r'^\d$', done.out, re.M), list('012345'), done.out + done.err)

    # decisions C-30, C-31
    def test_start_follow_prints_what_the_tasks_print(self):
        self.pushed(GATED % self.gate)
        start = self.start('start', 'p', 'w', '--session', '2026-01-02', '--follow')
        while b'one\n' != start.stdout.readline():
            self.assertIsNone(start.poll())
        self.open_gate()
        out, err = start.communicate(timeout=60)
        self.assertEqual(start.returncode, 0, err)
        self.assertIn('two\n', out.decode())
        self.assertIn('has ended: success', err.decode())

    def test_logs_of_an_attempt_that_is_over_come_whole_task_after_task(self):
        server = self.pushed('_parallel: true\n' + '+b:\n  sh>: printf "\\344 und \\303\\244\\n"; seq 4000\n+a:\n  echo>: said\n', *self.local_logs())
        attempt = self.started()
        self.digdag('log', '-f', attempt)
        frames = self.frames(server, attempt)
        self.assertEqual(frames[-2:], [{'state': 'live'}, {'state': 'done'}])
        pieces = [frame for frame in frames if 'file' in frame]
        tasks = [frame['task'] for frame in pieces]
        self.assertEqual(tasks, sorted(tasks, key=tasks.index), 'one task after the other')
        for file in server.get(f'/api/logs/{attempt}/files').json()['files']:
            content = gzip.decompress(server.get(f'/api/logs/{attempt}/files/{file["fileName"]}').body)
            of_file = [frame for frame in pieces if frame['file'] == file['fileName']]
            self.assertEqual(''.join(frame['text'] for frame in of_file), content.decode('utf-8', 'replace'))
            self.assertEqual([frame['from'] for frame in of_file], [sum(frame['bytes'] for frame in of_file[:i]) for i in range(len(of_file))])
        self.assertEqual({frame['task'] for frame in self.frames(server, attempt, '?task=%2Bw%2Ba') if 'task' in frame}, {'+w+a'})

    def test_following_a_task_ends_with_it(self):
        self.pushed(f'+a:\n  echo>: said\n+b:\n  sh>: cat {self.gate}\n')
        attempt = self.started()
        self.assertIn('said', self.digdag('log', '-f', attempt, '+w+a').out)
        self.open_gate()

    def test_only_attempts_that_there_are_have_logs(self):
        answer = self.server().get('/api/v2/attempts/7/logs')
        self.assertEqual((answer.status, answer.message), (404, 'Resource does not exist: session attempt id=7'))

    def test_a_server_that_ends_does_not_wait_for_readers(self):
        server = self.pushed(GATED % self.gate, '-m', '-L', os.path.join(self.project, 'log'))
        log = self.start('log', '-f', self.started())
        while log.stdout.readline() != b'one\n':
            self.assertIsNone(log.poll())
        server.process.terminate()
        self.wait_for('the shutdown', lambda: 'Waiting for completion of 1 running tasks' in self.content('log'))
        self.open_gate()
        # The second task has not begun: there is more to come, for which nobody waits.
        self.assertEqual(server.process.wait(timeout=60), 143)
        out, err = log.communicate(timeout=60)
        self.assertEqual((log.returncode, b'three' in out), (1, False), err)

    def test_a_large_file_is_sent_as_it_is(self):
        server = self.pushed('+a:\n  echo>: said\n', *self.local_logs())
        attempt = self.started()
        self.digdag('log', '-f', attempt)
        [small] = glob.glob(os.path.join(self.project, 'logs', '*', '*', '*.log.gz'))
        text = base64.encodebytes(os.urandom(3_000_000))
        name = '+w+b@6b01d1bb3473bc00.7@elsewhere.log.gz'
        with open(os.path.join(os.path.dirname(small), name), 'wb') as file:
            file.write(gzip.compress(text))
        answer = server.get(f'/api/logs/{attempt}/files/{name}')
        self.assertEqual((answer.headers['Content-Type'], gzip.decompress(answer.body)), ('application/gzip', text))
        self.assertEqual(self.digdag('log', '-f', attempt, '+w+b').out, text.decode())


if __name__ == '__main__':
    unittest.main()
