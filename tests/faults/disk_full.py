#!/usr/bin/env python3
"""Fills the disk of a server: of its database, its task logs, its workspaces. Each is a small file system of its own, so this needs
to be root and to mount; elsewhere it says so and passes.

Uses DIGDAG_BINARY.
"""
import errno
import gzip
import json
import os
import subprocess
import sys
import unittest
import urllib.request

from load import WORKFLOWS, Checker, Load, Scene, wait_for

INSIDE = '--inside'

WORKFLOWS['gated.dig'] = '''
timezone: UTC
+talk:
  sh>: |
    echo before; echo before > "$FAULTS_ONCE/before"
    while ! test -e "$FAULTS_ONCE/go"; do sleep 0.05; done
    head -c 20000 /dev/zero | tr '\\0' x; echo; echo in between > "$FAULTS_ONCE/between"
    while ! test -e "$FAULTS_ONCE/on"; do sleep 0.05; done
    echo after
+then:
  sh>: ./mark.sh ${attempt_id} then
'''
del WORKFLOWS['every_second.dig']


class Disk:
    """A file system of a size, at a directory."""

    def __init__(self, path, size):
        self.filler = os.path.join(path, 'filler')
        os.makedirs(path, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0755', 'tmpfs', path], check=True)

    def fill(self):
        with open(self.filler, 'ab', buffering=0) as out:
            try:
                while True:
                    out.write(b'x' * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self):
        os.remove(self.filler)


class DiskFull(unittest.TestCase):
    def scene(self, full, size, more=''):
        """A server whose directory `full` is a disk of its own."""
        scene = Scene('sqlite', more)
        self.addCleanup(scene.__exit__, None, None, None)
        self.addCleanup(setattr, scene, 'good', True)
        path = os.path.join(scene.directory, full)
        scene.disk = Disk(path, size)
        self.addCleanup(lambda: subprocess.run(['umount', '-l', path], check=False))
        scene.server.more = scene.server.more.replace('DIRECTORY', scene.directory)
        scene.server.start()
        scene.server.wait_until_it_listens()
        return scene

    def start(self, server, workflow, number):
        body = json.dumps({'workflowId': self.ids[workflow], 'sessionTime': f'2026-01-01T{number // 60:02}:{number % 60:02}:00Z', 'params': {}})
        return server.ask('PUT', '/api/attempts', body)

    def end_of(self, server, attempt):
        def ended():
            _, answer = server.ask_until_answered('GET', f'/api/attempts/{attempt}')
            return answer if answer['done'] else None
        return wait_for(f'the end of attempt {attempt}', ended)

    def failure_of(self, server, attempt):
        _, answer = server.ask_until_answered('GET', f'/api/attempts/{attempt}/tasks')
        return [task['error'].get('message') for task in answer['tasks'] if task['state'] == 'error']

    def go(self, scene, name):
        open(os.path.join(scene.directory, 'once', name), 'w', encoding='utf-8').close()

    def written(self, scene, name):
        path = os.path.join(scene.directory, 'once', name)
        wait_for(path, lambda: os.path.exists(path))

    def test_a_database_without_space_refuses_and_goes_on_when_there_is_some(self):
        scene = self.scene('db', '12m')
        server = scene.server
        load = Load(server, 0, 0)
        self.ids = load.ids
        status, gated = self.start(server, 'gated', 0)
        self.assertEqual(status, 200)
        self.written(scene, 'before')
        scene.disk.fill()
        acknowledged = [int(gated['id'])]
        number, refused = 0, 0
        # What has room in the log of the database, which is there, is taken yet.
        while refused < 3:
            number += 1
            status, answer = self.start(server, 'load', number)
            self.assertIn(status, (200, 503), answer)
            if status == 200:
                acknowledged.append(int(answer['id']))
            else:
                refused += 1
        # A task that ends meanwhile cannot store its result.
        self.go(scene, 'go')
        self.go(scene, 'on')
        self.assertEqual(server.ask('GET', '/api/projects')[0], 200)
        wait_for('the executor to say it', lambda: 'Attempts wait for the database' in server.log_text())
        self.assertEqual(server.ask('GET', '/api/ready')[0], 503)
        scene.disk.free()
        for attempt in acknowledged:
            self.assertTrue(self.end_of(server, attempt)['success'], attempt)
        status, answer = self.start(server, 'load', number + 1)
        self.assertEqual(status, 200, answer)
        self.assertTrue(self.end_of(server, int(answer['id']))['success'])
        server.end()
        checker = Checker(server, load)
        checker.attempts = {int(row[0]): row for row in scene.database.rows('select id from session_attempts')}
        self.assertEqual(len([attempt for attempt in acknowledged if attempt in checker.attempts]), len(acknowledged))
        checker.check_archives()
        checker.check_nothing_is_left()
        checker.check_marks(True, 0)
        self.assertEqual(checker.problems, [])
        self.assertEqual(checker.again, 0)

    def test_a_log_without_space_says_what_is_missing_and_the_attempt_goes_on(self):
        scene = self.scene('logs', '256k')
        server = scene.server
        self.ids = Load(server, 0, 0).ids
        _, gated = self.start(server, 'gated', 0)
        self.written(scene, 'before')
        scene.disk.fill()
        _, other = self.start(server, 'needed', 1)
        self.assertTrue(self.end_of(server, int(other['id']))['success'])
        self.go(scene, 'go')
        self.written(scene, 'between')
        wait_for('the server to say it', lambda: 'A task log cannot be written' in server.log_text())
        scene.disk.free()
        self.go(scene, 'on')
        self.assertTrue(self.end_of(server, int(gated['id']))['success'])
        _, files = server.ask_until_answered('GET', f"/api/logs/{gated['id']}/files?task=%2Bgated%2Btalk")
        text = ''
        for file in sorted(files['files'], key=lambda one: one['fileTime']):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.find_port()}/api/logs/{gated['id']}/files/{file['fileName']}") as answer:
                text += gzip.decompress(answer.read()).decode()
        self.assertRegex(text, r'(?s)before\n.*Some of this log is missing here: .*\nafter\n')
        server.end()

    def test_a_workspace_without_space_fails_its_task_with_the_cause(self):
        scene = self.scene('tmp', '1m', 'tmpdir = DIRECTORY/tmp\n')
        server = scene.server
        self.ids = Load(server, 0, 0).ids
        scene.disk.fill()
        status, attempt = self.start(server, 'needed', 1)
        self.assertEqual(status, 200, attempt)
        self.assertFalse(self.end_of(server, int(attempt['id']))['success'])
        self.assertIn('No space left on device', ' '.join(self.failure_of(server, int(attempt['id']))))
        scene.disk.free()
        _, attempt = self.start(server, 'needed', 2)
        self.assertTrue(self.end_of(server, int(attempt['id']))['success'], 'after there is space again')
        server.end()


def main():
    if INSIDE in sys.argv:
        sys.argv.remove(INSIDE)
        unittest.main()
    probe = ['unshare', '--mount', '--propagation', 'private']
    possible = subprocess.run([*probe, 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/mnt'], capture_output=True, text=True, check=False)
    if possible.returncode != 0:
        print(f'skipped: no file system can be mounted here: {possible.stderr.strip()}')
        return
    os.execvp(probe[0], [*probe, sys.executable, os.path.abspath(__file__), INSIDE, *sys.argv[1:]])


if __name__ == '__main__':
    main()
