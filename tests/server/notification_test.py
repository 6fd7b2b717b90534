#!/usr/bin/env python3
"""What a server tells about attempts as a whole (spec/execution.md 19, 20; decisions V-70)."""
import email
import json
import os
import socketserver
import threading
import unittest

from running import ServerTest


class Postman(socketserver.StreamRequestHandler):
    """Takes one mail for its server's `letters`."""

    def handle(self):
        def say(line):
            self.wfile.write(line + b'\r\n')

        say(b'220 here')
        while line := self.rfile.readline().strip().upper():
            say(b'354 go on' if line == b'DATA' else b'250 good')
            if line == b'DATA':
                letter = []
                while (line := self.rfile.readline().rstrip()) != b'.':
                    letter.append(line.decode())
                self.server.letters.append('\n'.join(letter))
                say(b'250 good')


class Notifications(ServerTest):
    def begin(self, workflow, command, settings=''):
        self.told = os.path.join(self.project, 'told')
        server = self.server(*self.config('database.type = memory\nnotification.type = shell\nnotification.min_retry_wait = 1\n'
                                          f'notification.shell.command = {command.replace("FILE", self.told)}\n' + settings))
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        self.file('p/w.dig', workflow)
        self.assertEqual(self.digdag('push', 'p', '--project', 'p', '-r', 'first').code, 0)
        self.assertEqual(self.digdag('start', 'p', 'w', '--session', '2026-01-02').code, 0)
        return server

    def notification(self):
        self.wait_for('the notification', lambda: os.path.exists(self.told))
        with open(self.told, encoding='utf-8') as file:
            return json.load(file)

    WRITES = 'cat > FILE.new; mv FILE.new FILE'

    # execution 19.1, 19.2, 20.6, 32.84, server 23.56
    def test_an_attempt_that_is_too_old_is_told_and_ends(self):
        gate = os.path.join(self.project, 'gate')
        os.mkfifo(gate)
        fails_once = f'if mkdir FILE.once; then exit 1; fi; {self.WRITES}'
        self.begin(f'+a:\n  sh>: cat {gate}\n', fails_once, 'executor.attempt_ttl = 1s\nexecutor.ttl_reaping_interval = 1s\nagent.kill-grace-time = 0\n')
        told = self.notification()
        self.assertEqual((told['message'], told['workflow_name'], told['project_name'], told['revision'], told['attempt_id'], told['task_name']),
                         ('Workflow execution timeout', 'w', 'p', 'first', 1, None))
        self.wait_for('the end', lambda: 'status: killed' in self.digdag('attempt', '1').out)

    # execution 19.3, 32.83, server 23.57
    def test_a_task_that_runs_too_long_is_told(self):
        gate = os.path.join(self.project, 'gate')
        os.mkfifo(gate)
        self.begin(f'+a:\n  sh>: cat {gate}\n', self.WRITES, 'executor.task_ttl = 1s\nexecutor.ttl_reaping_interval = 1s\nagent.kill-grace-time = 0\n')
        self.assertRegex(self.notification()['message'], r'^Task execution timeout: \d+(,\d+)*$')
        self.wait_for('the end', lambda: 'status: killed' in self.digdag('attempt', '1').out)

    # server 23.72
    def test_a_failure_is_told_with_all_that_is_known_of_it(self):
        server = self.begin('timezone: Asia/Tokyo\n+a:\n  fail>: on purpose\n', self.WRITES)
        told = self.notification()
        attempt, workflow = server.get('/api/attempts/1').json(), server.get('/api/workflows').json()['workflows'][0]
        self.assertRegex(told.pop('timestamp'), r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
        self.assertEqual(told, {'message': 'Workflow session attempt failed', 'site_id': 0, 'project_id': 1, 'project_name': 'p', 'workflow_name': 'w',
                                'revision': 'first', 'attempt_id': 1, 'session_id': 1, 'task_name': '+w^failure-alert', 'timezone': 'Asia/Tokyo',
                                'session_uuid': attempt['sessionUuid'], 'session_time': '2026-01-02T00:00:00+09:00',
                                'workflow_definition_id': int(workflow['id'])})

    # server 17
    def test_a_mail_says_what_is_known(self):
        post = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Postman)
        post.daemon_threads, post.letters = True, []
        threading.Thread(target=post.serve_forever, daemon=True).start()
        self.addCleanup(post.server_close)
        self.addCleanup(post.shutdown)
        self.begin('+a:\n  fail>: on purpose\n', '', 'notification.type = mail\nnotification.mail.host = 127.0.0.1\nnotification.mail.tls = false\n'
                   f'notification.mail.port = {post.server_address[1]}\nnotification.mail.from = d@x.org\nnotification.mail.to = a@x.org\n')
        self.wait_for('the mail', lambda: post.letters)
        letter = email.message_from_string(post.letters[0])
        self.assertEqual((letter['To'], letter['Subject']), ('a@x.org', 'Digdag Notification'))
        self.assertRegex(letter.get_payload(decode=True).decode(),
                         r'^Digdag Notification\n\nMessage: Workflow session attempt failed\nDate: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n\n'
                         r'Site Id: 0\nProject Name: p\nProject Id: 1\nWorkflow Name: w\nRevision: first\nAttempt Id: 1\nSession Id: 1\n'
                         r'Task Name: \+w\^failure-alert\nTime Zone: UTC\nSession Uuid: [0-9a-f-]{36}\nSession Time: 2026-01-02T00:00:00\+00:00\n$')

    # decisions V-70
    def test_success_is_told_where_that_is_wanted(self):
        self.begin('+a:\n  echo>: done\n', self.WRITES, 'notification.on-success = true\n')
        self.assertEqual(self.notification()['message'], 'Workflow session attempt succeeded')

    def test_a_type_that_there_is_not_is_an_error_at_the_start(self):
        self.assert_error(self.digdag('server', *self.config('database.type = memory\nnotification.type = pigeon\n')), 'pigeon', 'http, mail or shell')


if __name__ == '__main__':
    unittest.main()
