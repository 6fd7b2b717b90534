#pragma once

#include <string_view>

namespace digdag::operators {

/// The program that py> runs: finds the function that `py>:` names, gives it the parameters that its signature asks for, and
/// hands back what it stored, exported and added. Runs under Python 2.7 and 3 (spec/operators.md 4.2).
///
/// Usage: runner.py FUNCTION INPUT OUTPUT. INPUT holds `{"params": {…}}`, OUTPUT gets `{"subtask_config", "export_params",
/// "store_params"}` or, with exit code 1, `{"error": {"class", "message", "backtrace"}}`.
inline constexpr std::string_view runner_py = R"PYTHON(# -*- coding: utf-8 -*-
from __future__ import print_function, unicode_literals

import importlib
import inspect
import io
import json
import os
import sys
import traceback
import types

PYTHON2 = sys.version_info[0] == 2
TEXT_TYPES = (str, type(''))


class Env(object):
    """What tasks see as `digdag.env`."""

    def __init__(self, params):
        self.params = params
        self.subtask_config = {}
        self.export_params = {}
        self.store_params = {}
        self.state_params = {}
        self.subtask_index = 0

    def set_state(self, params={}, **keywords):
        self.state_params.update(params, **keywords)

    def export(self, params={}, **keywords):
        self.export_params.update(params, **keywords)

    def store(self, params={}, **keywords):
        self.store_params.update(params, **keywords)

    def add_subtask(self, function=None, **params):
        if function is None:
            config = params
        elif isinstance(function, dict):
            config = dict(function)
            config.update(params)
        else:
            config = dict(params)
            config['py>'] = name_of_callable(function)
        try:
            json.dumps(config, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError('Parameters must be serializable using JSON: %s' % (error,))
        self.subtask_config['+subtask%d' % self.subtask_index] = config
        self.subtask_index += 1


def name_of_callable(function):
    qualified = getattr(function, '__qualname__', None)
    if qualified is None:
        owner = getattr(function, 'im_class', None)
        qualified = (owner.__name__ + '.' if owner is not None else '') + function.__name__
    return function.__module__ + '.' + qualified


def inject_modules(env):
    """Makes `import digdag` and `import digdag_env` work."""
    api = types.ModuleType(str('digdag'))
    api.env = env
    plain = types.ModuleType(str('digdag_env'))
    for name in ('params', 'subtask_config', 'export_params', 'store_params', 'state_params'):
        setattr(plain, name, getattr(env, name))
    sys.modules['digdag'] = api
    sys.modules['digdag_env'] = plain


def is_missing(name, error):
    """Whether the import failed because there is no module `name`, and not because of what that module imports."""
    culprit = getattr(error, 'name', None)
    return culprit is None or name == culprit or name.startswith(culprit + '.')


def find_attribute(module, name):
    if not hasattr(module, name):
        raise AttributeError("Module '%s' has no attribute '%s'" % (module.__name__, name))
    return getattr(module, name)


def find_owner(path):
    """The module `path`; where there is none, the class of that name in the module before it."""
    try:
        return importlib.import_module(path)
    except ImportError as error:
        module_path, _, class_name = path.rpartition('.')
        if not module_path or not is_missing(path, error):
            raise
        missing = error
    module = None
    try:
        module = importlib.import_module(module_path)
    except ImportError:
        pass  # what is said is that `path` is missing
    if module is None:
        raise missing
    return find_attribute(module, class_name)


def resolve(command):
    """What `py>:` names, as the class to make an object of, or None, and the name or function to call."""
    path, _, name = command.rpartition('.')
    if not path:
        raise ValueError("Empty module name: py> needs a function with its module, such as 'tasks.%s'" % command)
    owner = find_owner(path)
    if inspect.isclass(owner):
        if not hasattr(owner, name):
            raise AttributeError("Class '%s' has no attribute '%s'" % (path, name))
        target = getattr(owner, name)
        if not inspect.isclass(target):
            return owner, name
    else:
        target = find_attribute(owner, name)
        if not inspect.isclass(target):
            return None, target
    return target, 'run'


def qualified_name(function):
    return getattr(function, '__qualname__', None) or getattr(function, '__name__', repr(function))


def bind(function, params, skip):
    """The keyword arguments of a call: for each parameter but the first `skip` the value of the same name."""
    if PYTHON2:
        names, _, keywords, defaults = inspect.getargspec(function)
        keyword_only, keyword_defaults = [], {}
    else:
        signature = inspect.getfullargspec(function)
        names, keywords, defaults = signature.args, signature.varkw, signature.defaults
        keyword_only, keyword_defaults = signature.kwonlyargs, signature.kwonlydefaults or {}
    optional = set(names[len(names) - len(defaults or ()):]) | set(keyword_defaults)
    arguments = dict(params) if keywords else {}
    for name in names[:skip]:
        arguments.pop(name, None)
    for name in names[skip:] + keyword_only:
        if name in params:
            arguments[name] = params[name]
        elif name not in optional:
            raise TypeError("Method '%s' requires parameter '%s' but not set" % (qualified_name(function), name))
    if PYTHON2:
        arguments = dict((str(name), value) for name, value in arguments.items())
    return arguments


def construct(owner, params):
    constructor = owner.__init__ if hasattr(owner, '__init__') else None
    if constructor is None or constructor is object.__init__ or not (inspect.isfunction(constructor) or inspect.ismethod(constructor)):
        return owner()
    return owner(**bind(constructor, params, skip=1))


def call(command, params):
    owner, target = resolve(command)
    if owner is None:
        return target(**bind(target, params, skip=0))
    method = getattr(construct(owner, params), target)
    return method(**bind(method, params, skip=1 if inspect.ismethod(method) else 0))


def describe_unserializable(path, value):
    """The dotted key of the innermost value that JSON does not know, and why."""
    try:
        json.dumps(value, allow_nan=False)
        return None
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = '%s' % (error,)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, TEXT_TYPES + (int, float, bool, type(None))):
                return "key %r of '%s' is no text" % (key, path)
        members = [('%s.%s' % (path, key), member) for key, member in value.items()]
    elif isinstance(value, (list, tuple)):
        members = [('%s[%d]' % (path, index), member) for index, member in enumerate(value)]
    else:
        members = []
    if 'ircular' not in reason and 'recursion' not in reason:
        for member_path, member in members:
            found = describe_unserializable(member_path, member)
            if found:
                return found
    return "'%s' is not serializable using JSON: %s" % (path, reason)


def results_of(env):
    """The JSON of what the task leaves; an error names the key that JSON does not know."""
    try:
        return json.dumps({'subtask_config': env.subtask_config, 'export_params': env.export_params, 'store_params': env.store_params},
                          allow_nan=False)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = '%s' % (error,)
    for method, params in (('store', env.store_params), ('export', env.export_params), ('add_subtask', env.subtask_config)):
        for key, value in params.items():
            found = describe_unserializable('%s' % (key,), value)
            if found:
                raise TypeError('digdag.env.%s: %s' % (method, found))
    raise TypeError(reason)


def write_whole(path, text):
    """To a temporary name first: a half written result must not be taken for a whole one."""
    temporary = path + '.tmp'
    with io.open(temporary, 'w', encoding='utf-8') as out:
        out.write('%s' % text)
    os.rename(temporary, path)


def is_own(file_name):
    return (file_name == call.__code__.co_filename or file_name.startswith('<frozen importlib') or
            file_name.endswith(os.path.join('importlib', '__init__.py')))


def backtrace_of(kind, error, trace):
    """The traceback without the frames of this file at its top; nothing where no other code took part."""
    while trace is not None and is_own(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is not None:
        return traceback.format_exception(kind, error, trace)
    return traceback.format_exception_only(kind, error) if issubclass(kind, SyntaxError) else []


def error_of(kind, error, trace):
    try:
        message = '%s' % (error,)
    except UnicodeError:
        message = repr(error)
    if isinstance(error, SystemExit):
        message = ('Failed to call python command with code:%s (the code called sys.exit; return from the function instead. '
                   'Another cause: a module with the name of one of the standard library)' % (error.code,))
    return {'class': kind.__name__, 'message': message, 'backtrace': [as_text(line) for line in backtrace_of(kind, error, trace)]}


def as_text(line):
    return line.decode('utf-8', 'replace') if isinstance(line, bytes) else line


def main():
    command, input_path, output_path = sys.argv[1], sys.argv[2], os.path.abspath(sys.argv[3])
    with io.open(input_path, encoding='utf-8') as source:
        env = Env(json.load(source)['params'])
    inject_modules(env)
    # Modules are those of the workspace, after those of Python; our own directory holds none.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    sys.path.append(os.path.abspath(os.getcwd()))
    try:
        call(command, env.params)
        write_whole(output_path, results_of(env))
    except BaseException:
        kind, error, trace = sys.exc_info()
        write_whole(output_path, json.dumps({'error': error_of(kind, error, trace)}))  # the task's error message shows it
        sys.exit(1)


if __name__ == '__main__':
    main()
)PYTHON";

}  // namespace digdag::operators
