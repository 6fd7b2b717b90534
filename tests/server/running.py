"""A digdag server under test: started on free ports with a configuration, asked over HTTP."""
import http.client
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'cli'))
from program import BINARY, ProgramTest  # noqa: E402,F401


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json()['message']


class RunningServer:
    """Listens when it is made; ended with the test."""

    def __init__(self, test, *words, admin=False, command='server'):
        info = os.path.join(test.project, 'runtime-info.json')
        self.process = test.start(command, *words, '-n', '0', *(['--admin-port', '0'] if admin else []), '-X', f'server.runtime-info.path={info}')
        test.wait_for('the server', lambda: os.path.exists(info) or self.process.poll() is not None)
        if self.process.poll() is not None:
            out, err = self.process.communicate()
            raise AssertionError(f'the server ended with {self.process.returncode}: {out.decode()}{err.decode()}')
        with open(info, encoding='utf-8') as file:
            self.info = json.load(file)
        os.remove(info)
        self.port = self.info['local_addresses'][0]['port']
        self.admin_port = self.info['local_admin_addresses'][0]['port'] if admin else None

    def ask(self, method, path, body=None, headers=None, port=None):
        connection = http.client.HTTPConnection('127.0.0.1', port or self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.ask('GET', path, **more)

    def send(self, method, path, value, **headers):
        return self.ask(method, path, json.dumps(value), {'Content-Type': 'application/json', **headers})

    def end(self, number=signal.SIGTERM):
        """Ends it with a signal: exit code, log, standard error."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


class ServerTest(ProgramTest):
    def server(self, *words, **more):
        return RunningServer(self, *(words or ('-m',)), **more)

    def config(self, text):
        """The words that give a server this configuration file."""
        return '-c', self.file('server.properties', text)
