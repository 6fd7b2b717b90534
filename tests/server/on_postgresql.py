"""Servers under test that share a PostgreSQL database."""
import io
import os
import sys
import tarfile
import urllib.parse

from running import ServerTest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'store'))
import server as postgresql  # noqa: E402


def archive(**files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name + '.dig')
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


class PostgresqlServerTest(ServerTest):
    """Servers on an empty PostgreSQL database of the test."""
    made = 0

    @classmethod
    def setUpClass(cls):
        cls.databases = postgresql.Server()
        cls.addClassCleanup(cls.databases.stop)

    def setUp(self):
        super().setUp()
        PostgresqlServerTest.made += 1
        self.name = f'two{self.made}'
        self.databases.create(self.name)

    def one(self, *words):
        """A server. Two connections must do: one listens, one works."""
        return self.server(*self.config(self.databases.settings(self.name) + 'database.maximumPoolSize = 2\n'), *words)

    def sql(self, text):
        return self.databases.psql(self.name, text).strip()

    def push(self, server, **files):
        answer = server.ask('PUT', '/api/projects?' + urllib.parse.urlencode({'project': 'p', 'revision': 'r'}), archive(**files),
                            {'Content-Type': 'application/gzip'})
        self.assertEqual(answer.status, 200, answer.body)

    def start_attempt(self, server, workflow, number=0):
        project = server.get('/api/projects?name=p').json()['projects'][0]['id']
        found = server.get(f'/api/projects/{project}/workflows?name={workflow}').json()['workflows'][0]
        answer = server.send('PUT', '/api/attempts', {'workflowId': found['id'], 'sessionTime': f'2026-01-02T00:{number // 60:02}:{number % 60:02}Z',
                                                      'params': {}})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()['id']

    def attempt(self, server, attempt):
        return server.get(f'/api/attempts/{attempt}').json()

    def wait_for_status(self, server, attempt, status, seconds=60):
        self.wait_for(f'attempt {attempt} {status}', lambda: self.attempt(server, attempt)['status'] == status, seconds)

    def lines(self, name):
        return self.content(name).split() if self.exists(name) else []
