// What every expression finds besides ES5.1: the methods of java.lang.String where ES5 has none of that name, and
// java.lang.String itself (spec/language.md 8.5). Runs once in the worker, before moment is loaded; `native` are functions
// of the worker (script_java.cpp).
(function (native) {
  'use strict';
  var global = (0, eval)('this');

  function hide(object, name, value) {
    Object.defineProperty(object, name, { value: value, writable: true, enumerable: false, configurable: true });
  }
  function remove(object, names) {
    names.split(' ').forEach(function (name) { delete object[name]; });
  }

  // The language is ES5.1, whatever the engine has beyond it.
  remove(global, 'globalThis CBOR Duktape Proxy Reflect Symbol Buffer TextEncoder TextDecoder performance');
  remove(Object, 'setPrototypeOf assign getOwnPropertySymbols is');
  remove(Math, 'cbrt clz32 hypot imul log2 log10 sign trunc');
  remove(Number, 'parseInt parseFloat isFinite isInteger isNaN isSafeInteger');
  remove(String.prototype, 'includes');

  // The engine escapes U+2028 and U+2029 in JSON; ES5 does not.
  var engine_stringify = JSON.stringify;
  hide(JSON, 'stringify', function stringify(value, replacer, space) {
    var text = engine_stringify(value, replacer, space);
    if (typeof text !== 'string' || text.indexOf('\\u202') < 0) return text;
    return text.replace(/\\(u202[89]|[^])/g, function (escape, what) {
      return what === 'u2028' ? '\u2028' : what === 'u2029' ? '\u2029' : escape;
    });
  });

  native.print_with(JSON.stringify);

  function out_of_bounds(what) { throw new RangeError('string index out of range: ' + what); }
  function is_java_space(unit) {
    return (unit >= 9 && unit <= 13) || (unit >= 0x1c && unit <= 0x20) || unit === 0x1680 ||
        (unit >= 0x2000 && unit <= 0x200a && unit !== 0x2007) || unit === 0x2028 || unit === 0x2029 || unit === 0x205f || unit === 0x3000;
  }
  function strip(text, leading, trailing) {
    var from = 0, to = text.length;
    if (leading) while (from < to && is_java_space(text.charCodeAt(from))) from++;
    if (trailing) while (to > from && is_java_space(text.charCodeAt(to - 1))) to--;
    return text.substring(from, to);
  }
  function fold(text) { return text.toUpperCase().toLowerCase(); }
  function compare(a, b) {
    var n = Math.min(a.length, b.length);
    for (var i = 0; i < n; i++) {
      if (a.charCodeAt(i) !== b.charCodeAt(i)) return a.charCodeAt(i) - b.charCodeAt(i);
    }
    return a.length - b.length;
  }
  function fold_units(text) { return text.split('').map(fold).join(''); }
  function region_matches(text, ignore_case, from, other, other_from, length) {
    if (from < 0 || other_from < 0 || from > text.length - length || other_from > other.length - length) return false;
    if (length <= 0) return true;
    var a = text.substr(from, length), b = other.substr(other_from, length);
    return a === b || (ignore_case && fold_units(a) === fold_units(b));
  }
  function code_point_at(text, i) {
    if (!(i >= 0 && i < text.length)) out_of_bounds(i);
    var high = text.charCodeAt(i), low = text.charCodeAt(i + 1);
    return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000 ? (high - 0xd800) * 0x400 + low - 0xdc00 + 0x10000 : high;
  }

  var methods = {
    codePointAt: function (i) { return code_point_at(String(this), i); },
    codePointBefore: function (i) {
      var text = String(this);
      if (!(i >= 1 && i <= text.length)) out_of_bounds(i);
      var two = i >= 2 ? code_point_at(text, i - 2) : 0;
      return two > 0xffff ? two : text.charCodeAt(i - 1);
    },
    codePointCount: function (from, to) {
      var text = String(this), count = 0;
      if (from < 0 || to > text.length || from > to) out_of_bounds(from + ', ' + to);
      for (var i = from; i < to; count++) i += code_point_at(text.substring(0, to), i) > 0xffff ? 2 : 1;
      return count;
    },
    compareTo: function (other) { return compare(String(this), String(other)); },
    compareToIgnoreCase: function (other) { return compare(fold_units(String(this)), fold_units(String(other))); },
    contains: function (other) { return String(this).indexOf(String(other)) >= 0; },
    contentEquals: function (other) { return String(this) === String(other); },
    endsWith: function (end) {
      var text = String(this), tail = String(end);
      return text.length >= tail.length && text.substring(text.length - tail.length) === tail;
    },
    equals: function (other) { return (typeof other === 'string' || other instanceof String) && String(this) === String(other); },
    equalsIgnoreCase: function (other) {
      if (typeof other !== 'string' && !(other instanceof String)) return false;
      return this.length === other.length && fold_units(String(this)) === fold_units(String(other));
    },
    hashCode: function () {
      var text = String(this), hash = 0;
      for (var i = 0; i < text.length; i++) hash = (31 * hash + text.charCodeAt(i)) | 0;
      return hash;
    },
    intern: function () { return String(this); },
    isBlank: function () { return strip(String(this), true, false) === ''; },
    isEmpty: function () { return this.length === 0; },
    length: function () { return this.length; },
    lines: function () { return String(this).split(/\r\n|\r|\n/); },
    matches: function (pattern) { return native.matches(String(this), String(pattern)); },
    regionMatches: function () {
      var a = Array.prototype.slice.call(arguments);
      if (typeof a[0] !== 'boolean') a.unshift(false);
      return region_matches(String(this), a[0], a[1], String(a[2]), a[3], a[4]);
    },
    repeat: function (count) {
      if (!(count >= 0)) throw new RangeError('count is negative: ' + count);
      return native.repeat(String(this), count);
    },
    replaceAll: function (pattern, by) { return native.replace(String(this), String(pattern), String(by), true); },
    replaceFirst: function (pattern, by) { return native.replace(String(this), String(pattern), String(by), false); },
    startsWith: function (start, from) {
      var text = String(this), head = String(start), at = from === undefined ? 0 : from | 0;
      return at >= 0 && at <= text.length - head.length && text.substr(at, head.length) === head;
    },
    strip: function () { return strip(String(this), true, true); },
    stripLeading: function () { return strip(String(this), true, false); },
    stripTrailing: function () { return strip(String(this), false, true); },
    subSequence: function (from, to) {
      var text = String(this);
      if (!(from >= 0 && to <= text.length && from <= to)) out_of_bounds('begin ' + from + ', end ' + to + ', length ' + text.length);
      return text.substring(from, to);
    },
    toCharArray: function () { return String(this).split(''); }
  };
  // Found where they are called and nowhere else (java_calls.cpp): strings have them under a marked name, which on every
  // other object stands for its own function.
  Object.keys(methods).forEach(function (name) {
    if (name !== 'length') delete String.prototype[name];
    hide(String.prototype, '@java.' + name, methods[name]);
    Object.defineProperty(Object.prototype, '@java.' + name, { get: function () { return this[name]; }, enumerable: false, configurable: true });
  });

  var old_methods = {
    trimLeft: function () { return String(this).replace(/^\s+/, ''); },
    trimRight: function () { return String(this).replace(/\s+$/, ''); }
  };
  Object.keys(old_methods).forEach(function (name) { hide(String.prototype, name, old_methods[name]); });

  // new java.lang.String('x') is an object here; the mark lets templates print it as the text that it is.
  function JavaString(value) {
    return native.mark(new String(value === undefined ? '' : value));
  }
  hide(JavaString, 'format', function format(pattern) {
    return native.format(String(pattern), Array.prototype.slice.call(arguments, 1));
  });
  hide(global, 'java', { lang: { String: JavaString } });
})
