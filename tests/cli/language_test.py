#!/usr/bin/env python3
"""The cases of the language: what a workflow's text becomes, by `digdag check --json`, and what it does, by `digdag run`."""
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest  # noqa: E402

# A tree is one line per task, `NAME [UPSTREAMS] G LOCAL / EXPORT`: upstreams without the parent's name, G for a group, and of the root only what is not empty.
# An expected text instead is part of the error's message.
COMPILED = [
    # language 12.1
    ('{}', ['+wf [] G']),
    # language 12.2
    ('', 'Expected object to load Config but got null'),
    # language 12.3
    ('+a: {echo>: 1}\n+b: {echo>: 2}\n+c: {echo>: 3}',
     ['+wf [] G', '+wf+a [] {"echo>":1}', '+wf+b [+a] {"echo>":2}', '+wf+c [+b] {"echo>":3}']),
    # language 12.4
    ('+b: {echo>: 2}\n_export: {x: 1}\n+a: {echo>: 1}', ['+wf [] G / {"x":1}', '+wf+b [] {"echo>":2}', '+wf+a [+b] {"echo>":1}']),
    # language 12.5
    ('_parallel: true\n_retry: 3\n_error: {echo>: e}\n_check: {echo>: c}\nsla: {time: 1:00, echo>: s}\nschedule: {daily>: 07:00:00}\n'
        '_export: {x: 1}\n+a: {echo>: 1}\n+b: {echo>: 2}',
     ['+wf [] G {"schedule":{"daily>":"07:00:00"},"sla":{"time":"1:00","echo>":"s"},"_error":{"echo>":"e"},"_check":{"echo>":"c"},"_retry":3,'
      '"_parallel":true} / {"x":1}', '+wf+a [] {"echo>":1}', '+wf+b [] {"echo>":2}']),
    # language 12.6
    ('foo: 1\nbar: 2', "Workflow 'wf' includes unknown keys: [foo, bar]"),
    # language 12.7
    ('echo>: 1', "Workflow 'wf' includes unknown keys: [echo>]"),
    # language 12.8
    ('_background: true\n+a: {echo>: 1}', "Workflow 'wf' includes unknown keys: [_background]"),
    # language 12.9
    ('timezone: JST\n+a: {echo>: 1}', 'Expected time zone for key \'timezone\' but got "JST" (string)'),
    # language 12.10
    ("timezone: ''", ['zone UTC', '+wf [] G']),
    # language 12.11
    ('timezone: +09:00', ['zone +09:00', '+wf [] G']),
    # language 12.12
    ('_export:\n+a: {echo>: 1}', ['+wf [] G', '+wf+a [] {"echo>":1}']),
    # language 12.13
    ('_export: 1', "Parameter '_export' must be an object"),
    # language 12.14
    ('_error:', "Parameter '_error' is required but null"),
    # language 12.15
    ('+a:', "Parameter '+a' is required but null"),
    # language 12.16
    ('+g: {+a: }', "Parameter '+a' must be an object or array of objects"),
    # language 12.17
    ('+a: x', "Parameter '+a' must be an object or array of objects"),
    # language 12.18
    ('+a: {}', ['+wf [] G', '+wf+a [] G']),
    ('+a: []', ['+wf [] G', '+wf+a [] G']),
    # language 12.19
    ('+a: [{echo>: 1, z: 1}, {z: 2}]', ['+wf [] G', '+wf+a [] {"echo>":1,"z":2}']),
    # language 12.20
    ('+a:\n  - +x: {echo>: 1}\n  - +y: {echo>: 2}', ['+wf [] G', '+wf+a [] G', '+wf+a+x [] {"echo>":1}', '+wf+a+y [+x] {"echo>":2}']),
    # language 12.21
    ('+a: [1]', 'Expected object but got 1'),
    # language 12.22
    ('+a: {echo>: 1, +b: {echo>: 2}}', 'A task can\'t have subtasks: {"echo>":1}'),
    # language 12.23
    ('+a: {echo>: 1, sh>: 2}', 'A task can\'t have more than one operator: {"echo>":1,"sh>":2}'),
    # language 12.24
    ('+a: {_type: echo, sh>: x}', ['+wf [] G', '+wf+a [] {"_type":"echo","sh>":"x"}']),
    # language 12.25
    ('+a: {foo: 2}', "+wf+a contains invalid keys: 'foo'"),
    # language 12.26
    ('+a: {_paralel: true, retry: 3, +b: {echo>: 1}}',
     "+wf+a contains invalid keys: '_paralel' (did you mean [_parallel]?), 'retry' (did you mean [_retry]?)"),
    # language 12.27
    ('+a: {_do: {echo>: 1}, +b: {echo>: 1}}', "+wf+a contains invalid keys: '_do'"),
    # language 12.28
    ('+a: {_command: x}', "+wf+a contains invalid keys: '_command'"),
    # language 12.29
    ('+a: {timezone: x, schedule: {}, _secrets: {}, +b: {echo>: 1}}',
     ['zone UTC', '+wf [] G', '+wf+a [] G {"timezone":"x","schedule":{},"_secrets":{}}', '+wf+a+b [] {"echo>":1}']),
    # language 12.30
    ('+a: {_disable: true, foo: 1, +x: {echo>: 1, sh>: 2}}', ['+wf [] G', '+wf+a [] G {"_disable":true}']),
    # language 12.31
    ("+a: {_disable: '${x}', echo>: 1}", 'Expected \'true\' or \'false\' for key \'_disable\' but got "${x}" (string)'),
    # language 12.32
    ('+a: {_disable: 1, echo>: 1}', ['+wf [] G', '+wf+a [] G {"_disable":true}']),
    ('+a: {_disable: 0, echo>: 1}', ['+wf [] G', '+wf+a [] {"_disable":0,"echo>":1}']),
    # language 12.33
    ('"+a b": {echo>: 1}', "task name must not contain character ' ': \"+a b\""),
    # language 12.34
    ('+g: {"+a b": {echo>: 1}}', "name must not contain character ' ': \"+a b\""),
    # language 12.35
    ('"+a^b": {echo>: 1}', 'task name must not contain ^ character: "+a^b"'),
    ('+g: {"+a^b": {echo>: 1}}', ['+wf [] G', '+wf+g [] G', '+wf+g+a^b [] {"echo>":1}']),
    # language 12.36
    ('"+a>": {echo>: 1}', "must not contain character '>'"),
    # language 12.37
    ('+: {echo>: 1}\n+1a: {echo>: 2}', ['+wf [] G', '+wf+ [] {"echo>":1}', '+wf+1a [+] {"echo>":2}']),
    # language 12.38
    ('^a: {echo>: 1}', "Workflow 'wf' includes unknown keys: [^a]"),
    # language 12.39
    ('+a: {_parallel: 2, +x: {echo>: 1}}', 'Invalid _parallel format: 2'),
    # language 12.40
    ("+a: {_parallel: '${x}', +x: {echo>: 1}}", 'Expected \'true\' or \'false\' for key \'_parallel\' but got "${x}" (string)'),
    # language 12.41
    ('+a: {_parallel: {}, +x: {echo>: 1}}', "Parameter 'limit' is required but not set"),
    # language 12.42
    ('_parallel: {limit: 2}\n+x: {echo>: 1}\n+y: {echo>: 1}\n+z: {echo>: 1}\n+w: {echo>: 1}\n+v: {echo>: 1}',
     ['+wf [] G {"_parallel":{"limit":2}}', '+wf+x [] {"echo>":1}', '+wf+y [] {"echo>":1}', '+wf+z [+x,+y] {"echo>":1}', '+wf+w [+x,+y] {"echo>":1}',
      '+wf+v [+z,+w] {"echo>":1}']),
    # language 12.43
    ('+x: {echo>: 1}\n+y: {_after: [+x], echo>: 1}',
     'Setting "_after" option is invalid if its parent task doesn\'t have "_parallel: true" option'),
    # language 12.44
    ('_parallel: true\n+x: {_after: [+y], echo>: 1}\n+y: {echo>: 1}', "Dependency task '+y' does not exist"),
    # language 12.45
    ('_parallel: true\n+x: {echo>: 1}\n+y: {_after: +x, echo>: 1}', 'Expected array type for key \'_after\' but got "+x" (string)'),
    # language 12.46
    ('_parallel: true\n+x: {_background: true, echo>: 1}',
     'Setting "_background: true" option is invalid (unnecessary) if its parent task has "_parallel: true" option'),
    # language 12.47
    ('+x: {echo>: 1}\n+y: {_background: true, echo>: 1}\n+z: {echo>: 1}\n+w: {echo>: 1}',
     ['+wf [] G', '+wf+x [] {"echo>":1}', '+wf+y [] {"echo>":1}', '+wf+z [+x,+y] {"echo>":1}', '+wf+w [+z] {"echo>":1}']),
    # language 12.48
    ('+a: {echo>: 1, _error: {foo: e}}', "+wf+a^error contains invalid keys: 'foo'"),
    # language 12.49
    ('+a: {echo>: 1, _error: x}', "Parameter '_error' must be an object"),
    # language 12.50
    ('+a: {echo>: 1, _check: x}', ['+wf [] G', '+wf+a [] {"echo>":1,"_check":"x"}']),
    # language 12.51
    ('+a: {loop>: 3, _do: {foo: 1}}', ['+wf [] G', '+wf+a [] {"loop>":3,"_do":{"foo":1}}']),
    # language 12.52
    ('+a: {echo>: 1}\n+a: {echo>: 2}', 'Duplicated keys: [+a]'),
    # language 12.53
    ('+a: {_background: true, +x: {echo>: 1}}\n+b: {echo>: 2}',
     ['+wf [] G', '+wf+a [] G', '+wf+a+x [] {"echo>":1}', '+wf+b [+a] {"echo>":2}']),
    # language 12.54
    ('_export: {d: &d {foo: 1}}\n+a: {<<: *d, echo>: 1}\n+b: {echo>: 2, <<: *d}',
     ['+wf [] G / {"d":{"foo":1}}', '+wf+a [] {"foo":1,"echo>":1}', '+wf+b [+a] {"echo>":2,"foo":1}']),
    # language 12.55
    ('_export: {a: 0.5, b: .5, c: 1.0, d: 010, e: 1e7, f: 1:30, g: 12:30:45.5}',
     ['+wf [] G / {"a":"0.5","b":0.5,"c":1.0,"d":8,"e":10000000.0,"f":"1:30","g":45045.5}']),
    # language 12.56
    ('+a:\n  sh>: |\n    echo a\n    echo b\n', ['+wf [] G', '+wf+a [] {"sh>":"echo a\\necho b\\n"}']),
]

# Names of workflow files.
NAMES = [
    # language 12.57
    ('1a.dig', 'name must not start with a numeric digit (0-9): "1a"'),
    ('a.dig.dig', 'name must not end with .dig: "a.dig"'),
    # language 12.58
    ('+a.dig', 'name must not include special symbols'),
    ('a+b.dig', 'name must not contain character \'+\': "+a+b"'),
]

# Files of a project; a text instead of a tree is part of the error's message.
INCLUDED = [
    # language 12.59
    ({'wf.dig': '!include : t.yml\n+b: {echo>: b}', 't.yml': '+a: {echo>: a}\n_export: {x: 1}'},
     ['+wf [] G / {"x":1}', '+wf+a [] {"echo>":"a"}', '+wf+b [+a] {"echo>":"b"}']),
    # language 12.60
    ({'wf.dig': '_export: {x: 2, y: {p: 1}}\n!include : t.yml', 't.yml': '_export: {x: 1, y: {q: 2}}'},
     ['+wf [] G / {"x":1,"y":{"p":1,"q":2}}']),
    # language 12.61
    ({'wf.dig': '+a:\n  !include : t.yml\n  echo>: top', 't.yml': 'echo>: inc\nfoo: 1'}, ['+wf [] G', '+wf+a [] {"echo>":"top","foo":1}']),
    # language 12.62
    ({'wf.dig': '_export:\n  b: {p: 1, z: {q: 1}}\n  !include : i', 'i': 'b: {z: {w: 2}, n: 1}'},
     ['+wf [] G / {"b":{"p":1,"z":{"q":1,"w":2},"n":1}}']),
    # language 12.63
    ({'wf.dig': '_export:\n  !include : i\n  b: {p: 1}', 'i': 'b: {z: {w: 2}, n: 1}'}, ['+wf [] G / {"b":{"p":1}}']),
    # language 12.64
    ({'wf.dig': '_export:\n  a: 0\n  !include : i\n  b: 3', 'i': 'x: 1\nb: {z: 2}\na: 9'}, ['+wf [] G / {"a":9,"x":1,"b":3}']),
    # language 12.65
    ({'wf.dig': '_export:\n  !include : sub/i', 'sub/i': '!include : j\nk: 1', 'sub/j': 'l: 1'}, ['+wf [] G / {"l":1,"k":1}']),
    # language 12.66: inside the project `..` is accepted (L-07), outside not
    ({'wf.dig': '_export:\n  !include : sub/i', 'sub/i': '!include : ../j', 'j': 'l: 1'}, ['+wf [] G / {"l":1}']),
    ({'wf.dig': '_export:\n  !include : sub/i', 'sub/i': '!include : ../../j'}, 'File name must not include ..: ../../j'),
    # language 12.67
    ({'wf.dig': '_export:\n  !include : sub/i', 'sub/i': '!include : ../sub2/j', 'sub2/j': 'l: 1'}, ['+wf [] G / {"l":1}']),
    # language 12.68: the file is the value (L-06)
    ({'wf.dig': '_export:\n  b: !include i.dig', 'i.dig': '_export: {c: 1}'}, ['+wf [] G / {"b":{"_export":{"c":1}}}']),
    # language 12.69: an error that names the cycle (L-04)
    ({'wf.dig': '_export:\n  !include : wf.dig'}, 'include cycle: wf.dig -> wf.dig'),
    ({'wf.dig': '_export:\n  !include : b', 'b': '!include : wf.dig'}, 'include cycle: wf.dig -> b -> wf.dig'),
]

PYTHON = '''import digdag


def export():
    digdag.env.export({'z': 5})


def store():
    digdag.env.store({'v': 7})
'''

# What a run shows: `code`, `prints` (all lines that are not the log, in their order), `logs` (parts of the log or of standard error), `tasks` (all that ran),
# `never` (nowhere in the output).
RUN = [
    # language 12.70
    ('+a: {echo>: }', dict(code=1, prints=[], logs=["Parameter '_command' is required but not set (config)"])),
    # language 12.71
    ('+a: {_type: , echo>: 1}', dict(code=1, prints=[], logs=["Parameter '_type' is required but null (config)"])),
    # language 12.72
    ('+a: {nosuch>: 1}', dict(code=1, prints=[], logs=['Unknown task type: nosuch (config)'])),
    # language 12.73
    ('+a: {_type: "${\'echo\'}", _command: dyn}', dict(prints=['dyn'])),
    # language 12.74: the task's own operator wins, with a warning (L-24)
    ('+a: {_export: {"echo>": HIJACK}, sh>: "echo real"}', dict(prints=['real'], logs=['echo>'])),
    # language 12.75: likewise (L-24)
    ('_export: {_type: echo, _command: HIJACK2}\n+a: {sh>: echo real}', dict(prints=['real'], logs=['_type'])),
    # language 12.76
    ('+a: {_export: {_command: X}, echo>: }', dict(code=1, prints=[], logs=["Parameter '_command' is required but not set (config)"])),
    # language 12.77: evaluated (L-16); what is no number is warned of
    ('_export: {r: 1}\n+g: {_retry: "${r}", +b: {echo>: b}, +a: {fail>: x}}', dict(code=1, prints=['b', 'b'])),
    ('_export: {r: no}\n+g: {_retry: "${r}", +b: {echo>: b}, +a: {fail>: x}}',
     dict(code=1, prints=['b'], logs=['Ignore retry parameter because of invalid retry configuration'])),
    # language 12.78
    ('+a: {if>: "", _do: {echo>: yes}, _else_do: {echo>: no}}', dict(prints=['no'])),
    ('+a: {if>: 0, _do: {echo>: yes}, _else_do: {echo>: no}}', dict(prints=['no'])),
    ('+a: {if>: "${null}", _do: {echo>: yes}, _else_do: {echo>: no}}', dict(prints=['no'])),
    # language 12.79
    ('+a: {if>: yes, _do: {echo>: 1}}',
     dict(code=1, prints=[], logs=['Expected \'true\' or \'false\' for key \'_command\' but got "yes" (string) (config)'])),
    # language 12.80
    ('+a: {if>: "${1 == 1}", _do: {echo>: yes}, _else_do: {echo>: no}}', dict(prints=['yes'])),
    # language 12.81
    ('_export: {x: ex}\n+g:\n  +f:\n    fail>: "boom ${x}"\n    _error: {echo>: "${error.message} ${Object.keys(error)} ${task_name}"}',
     dict(code=1, prints=['boom ex ["message"] +w+g+f^error'])),
    # language 12.82
    ('_error: {+a: {echo>: "${v} ${task_name}"}}\n+g: {+s: {py>: t.store}, +f: {fail>: x}}', dict(code=1, prints=['7 +w^error+a'])),
    # language 12.83
    ('+a: {sh>: exit 3, _error: {echo>: "M=${error.message}"}}', dict(code=1, prints=['M=Command failed with code 3 (runtime)'])),
    # language 12.84
    ('+a: {py>: t.export, _check: {echo>: "CHECK ${z}"}}', dict(prints=['CHECK 5'])),
    # language 12.85
    ('+ec: {_export: {_check: {echo>: E}}, echo>: m}', dict(prints=['m', 'E'])),
    # language 12.86
    ('_export: {v: outer}\n+a: {call>: sub/c, v: localv}',
     dict(files={'sub/c.dig': 'timezone: Asia/Tokyo\n_export: {c: "${v}-c"}\n+x: {echo>: "${c} ${v} ${_workdir} ${timezone}"}'},
          prints=['outer-c outer sub UTC'], tasks=['+w+a', '+w+a^sub+x'])),
    # language 12.87
    ('_export: {_workdir: x}\n+a: {call>: sub/c}',
     dict(files={'sub/c.dig': '+x: {echo>: 1}', 'x/y': ''}, code=1, prints=[], logs=['File not found: PROJECT/x/sub/c.dig (config)'])),
    # language 12.88: the variable is unset (L-34)
    ('_export: {n: }\n+a: {sh>: \'echo "n=$(printenv n || echo unset)"\'}', dict(prints=['n=unset'])),
    ('+l:\n  for_each>: {n: [1, null]}\n  _do: {sh>: \'echo "n=$(printenv n || echo unset)"\'}', dict(prints=['n=1', 'n=unset'])),
    # language 12.89
    ("_export: {_env: {E3: v3}}\n+a: {sh>: 'echo \"[$E3]\" \"$_env\"'}", dict(prints=['[] {"E3":"v3"}'])),
    # language 12.90: the task's own keys are seen where nothing else has the name (L-23)
    ('+a: {i: 4, _env: {E2: "${i}"}, sh>: \'echo "[$E2]"\'}', dict(prints=['[4]'])),
    # language 12.91
    ('+a: {echo>: "${secret:foo.bar}"}', dict(prints=['${secret:foo.bar}'])),
    ('+a: {sh>: "echo ${secret:foo.bar}"}', dict(code=1, prints=[], logs=["Secret not found for key: 'foo.bar' (secret not found)"])),
    # language 12.92
    ('+a:\n  echo>: hi\n  fooo: 1\n  _comand: 2',
     dict(prints=['hi'], logs=["Parameter 'fooo' is not used at task +w+a.", "Parameter '_comand' is not used at task +w+a.", '> Did you mean [_command]?'])),
    # language 12.93: the task that tells of the failure does not fail itself (L-20)
    ('_export: {b: "${a}"}\n+g: {_export: {a: 5}, +x: {echo>: "${b+1}"}}\n+h: {echo>: x}',
     dict(code=1, prints=['51'], logs=['+w+h', 'a is not defined'], never=['Task failed with unexpected error: +w^failure-alert'])),
    # language 12.94
    ('+x: {sh>: "while [ ! -e z ]; do sleep 0.01; done; echo x"}\n+y: {sh>: echo y}\n+z: {_background: true, sh>: touch z}\n+w: {sh>: echo w}',
     dict(prints=['x', 'y', 'w'])),
    # language 12.95
    ('_export: {items: [a, b]}\n+l: {for_each>: {k: "${items}"}, _do: {echo>: "k=${k}"}}', dict(prints=['k=a', 'k=b'])),
    # language 12.96
    ('+a: {echo>: 1.0}\n+b: {echo>: 1e7}\n+c: {echo>: true}', dict(prints=['1.0', '1.0E7', 'true'])),
    ('+a: {echo>: [1]}', dict(code=1, prints=[], logs=["Expected string type for key '_command' but got [1] (array) (config)"])),
    # language 12.97
    ("+a: {echo>: \"${'$'}{x}\"}", dict(prints=['${x}'])),
    # language 12.98
    ('_export: {i: 10000000, z: 1e7, f: 1.0, a-b: AB}\n+a:\n  o: {a: 1.0, b: [1e7]}\n  t: "${i} ${z} ${f}"\n'
         '  sh>: \'echo "i=$i z=$z f=$f o=$o t=$t"; printenv a-b || echo none; echo "$_command" | cut -c 1-12\'',
     dict(prints=['i=10000000 z=1.0E7 f=1.0 o={"a":1.0,"b":[1.0E7]} t=10000000 10000000 1', 'none', 'echo "i=$i z'])),
]


def lines(workflow):
    """The tree of a checked workflow."""
    tasks = workflow['tasks']
    found = []
    for index, task in enumerate(tasks):
        parent = '' if task['parent'] is None else tasks[task['parent']]['full_name']
        assert task['index'] == index and task['full_name'].startswith(parent), task
        upstreams = ','.join(tasks[i]['full_name'][len(parent):] for i in task['upstreams'])
        line = f'{task["full_name"]} [{upstreams}]' + (' G' if task['operator'] is None else '')
        for sign, values in ('', task['local']), (' /', task['export']):
            line += f'{sign} {json.dumps(values, separators=(",", ":"))}' if values else ''
        found.append(line)
    return found


class LanguageTest(ProgramTest):
    def project_of(self, files):
        """An empty directory with these files only."""
        self.doCleanups()
        self.setUp()
        for name, text in files.items():
            self.file(name, text)

    def check(self, files, expected, whole_project=False):
        self.project_of(files)
        workflow = [] if whole_project else [next(iter(files)).removesuffix('.dig')]
        done = self.digdag('check', '--json', '--project', '.', *workflow)
        report = json.loads(done.out)
        if isinstance(expected, str):
            self.assertEqual(done.code, 1, done.out)
            self.assertTrue(any(expected in error['message'] for error in report['errors']), report['errors'])
            return
        self.assertEqual((done.code, report['errors']), (0, []), done.err)
        [workflow] = [workflow for workflow in report['workflows'] if workflow['name'] == 'wf']
        zone = [f'zone {workflow["timezone"]}'] if expected[0].startswith('zone ') else []
        self.assertEqual(zone + lines(workflow), expected)

    def test_texts_become_trees_or_errors(self):
        for text, expected in COMPILED:
            with self.subTest(text=text):
                self.check({'wf.dig': text}, expected)
        for name, expected in NAMES:
            with self.subTest(name=name):
                self.check({name: '+a: {echo>: 1}'}, expected, whole_project=True)

    def test_files_are_included(self):
        for files, expected in INCLUDED:
            with self.subTest(files=files):
                self.check(files, expected)

    def test_runs(self):
        for text, expected in RUN:
            with self.subTest(text=text):
                self.project_of({'t.py': PYTHON, **expected.get('files', {})})
                done = self.run_workflow(text, '--no-save')
                self.assertEqual(done.code, expected.get('code', 0), done.out + done.err)
                log = done.log('')
                # The cause of a failed task stands in the log below its line.
                out = re.sub(r'(?m)^(.* Task \S+ failed\.\n).*\n', r'\1', done.out)
                printed = [line for line in out.split('\n')[:-1] if line not in log and not line.startswith('> ')]
                self.assertEqual(printed, expected['prints'], done.out + done.err)
                for part in expected.get('logs', []):
                    self.assertIn(part.replace('PROJECT', os.path.realpath(self.project)), done.out + done.err)
                for part in expected.get('never', []):
                    self.assertNotIn(part, done.out + done.err)
                if 'tasks' in expected:
                    tasks = [line.split(']', 2)[2].split(')')[0] for line in done.log(': ') if '@[0:default:' in line]
                    self.assertEqual(tasks, expected['tasks'], done.out)


if __name__ == '__main__':
    unittest.main()
