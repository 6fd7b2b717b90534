"""A server of recorded answers: what a client asks, and what it makes of the answer."""
import http.server
import json
import re
import threading
import urllib.parse

from program import ProgramTest


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        self.path, _, query = target.partition('?')
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'{self.method} {self.path}' + ('?' + urllib.parse.urlencode(self.query) if self.query else '')


class FakeServer(http.server.ThreadingHTTPServer):
    """`answers`: `METHOD /path` to what is answered: an object (200), bytes, a pair of status and object, or a list of these, one after
    the other, of which the last stays. A function is called with the request. Everything else is 404."""
    daemon_threads = True

    def __init__(self, test, answers=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.answers = {'GET /api/version/check': {'serverVersion': '9.9', 'apiCompatible': True, 'upgradeRecommended': False},
                        'GET /api/version': {'version': '9.9'}, **(answers or {})}
        self.requests, self.connections, self.lock = [], 0, threading.Lock()
        self.endpoint = f'http://127.0.0.1:{self.server_address[1]}'
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        test.addCleanup(self.end)

    def end(self):
        self.shutdown()
        self.server_close()

    def answer(self, request):
        with self.lock:
            self.requests.append(request)
            answer = self.answers.get(f'{request.method} {request.path}', (404, {'message': 'Resource does not exist: ' + request.path, 'status': 404}))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(request)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()

    def asked(self):
        """The requests behind the version check, as lines."""
        return [repr(request) for request in self.requests if request.path != '/api/version/check']

    def last(self, method):
        return [request for request in self.requests if request.method == method][-1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True  # head and body are sent one after the other

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *_):
        pass

    def reply(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        target = re.sub(r'^https?://[^/]*', '', self.path)  # as a proxy gets it
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer = self.server.answer(Request(self.command, target, headers, body))
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = reply


class ClientTest(ProgramTest):
    """A test with a server of its own, which gives the `answers` of its class."""
    answers = {}

    def setUp(self):
        super().setUp()
        self.server = FakeServer(self, dict(self.answers))

    def client(self, *words, **environment):
        return self.digdag(*words, '-e', self.server.endpoint, **environment)
