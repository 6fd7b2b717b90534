"""A server under test, as a client of its REST API uses it."""
import gzip
import io
import tarfile
import urllib.parse

from running import ServerTest

GZIP = {'Content-Type': 'application/gzip'}
FAR = '2031-01-01T00:00:00Z'  # no session of a schedule is due before
ECHO = '+a:\n  echo>: 1\n'


def packed(files):
    """A project's archive of `{path: text or bytes}`; the same bytes whenever it is asked for."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        for path, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


def query(**values):
    return '?' + urllib.parse.urlencode(values)


class RestTest(ServerTest):
    def begin(self, *words):
        self.one = self.server(*words)

    def get(self, path, **values):
        return self.one.get(path + (query(**values) if values else ''))

    def push(self, files, project='p', revision='r1', **values):
        return self.one.ask('PUT', '/api/projects' + query(project=project, revision=revision, **values), packed(files), GZIP)

    def pushed(self, files, project='p', revision='r1', **values):
        answer = self.push(files, project, revision, **values)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def workflow(self, name):
        return next(one for one in self.get('/api/workflows').json()['workflows'] if one['name'] == name)

    def put(self, workflow, time='2026-03-04T05:00:00Z', params=None, **more):
        return self.one.send('PUT', '/api/attempts',
                             {'workflowId': self.workflow(workflow)['id'], 'sessionTime': time, 'params': params or {}, **more})

    def started(self, *words, **more):
        answer = self.put(*words, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def ended(self, attempt):
        """The attempt when it is done."""
        self.wait_for('the end', lambda: self.get(f'/api/attempts/{attempt["id"]}').json()['done'])
        return self.get(f'/api/attempts/{attempt["id"]}').json()

    def tasks(self, attempt):
        return self.get(f'/api/attempts/{attempt["id"]}/tasks').json()['tasks']

    def refused(self, answer, status, *texts):
        self.assertEqual(answer.status, status, answer.body)
        for text in texts:
            self.assertIn(text, answer.message)
