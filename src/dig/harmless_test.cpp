#include "dig/harmless.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "dig/script_engine.h"

namespace digdag::dig {
namespace {

TEST(Harmless, AreArithmeticAndCallsThatMakeTheirObjects) {
  for (const char* const expression :
       {"n + 1", "(a - 1) * 2 / b.c", "moment(session_time).add(n, 'days').format('YYYY-MM-DD')",
        "moment().utc().year() > 2000 ? 'a(' : \"b=\"", "name.toUpperCase() + '-' + String(n)", "moment.utc(t).toISOString()",
        "moment(t).format()", "'\u65e5' + n", "rows.length", "a.b.c", "!a && b || -c === 2"}) {
    EXPECT_TRUE(is_harmless(expression)) << expression;
  }
}

TEST(Harmless, IsNothingThatCouldReachWhatIsShared) {
  for (const char* const expression : {"a = 1",
                                       "moment.x = 1",
                                       "n++",
                                       "--n",
                                       "delete moment.add",
                                       "moment.locale('ja')",
                                       "moment.fn.add(1)",
                                       "moment.prototype.startOf('day')",
                                       "moment['fn'].add(1)",
                                       "a[b](c)",
                                       "(moment.locale)('ja')",
                                       "moment(x)('y')",
                                       "'a'('b')",
                                       "''.constructor",
                                       "0..constructor",
                                       "(1.5.constructor.constructor.prototype).add(1)",
                                       "eval('x=1')",
                                       "f(1)",
                                       "(function(){})()",
                                       "new Date",
                                       "Object.defineProperty(String, 'x', {})",
                                       "[1].push(2)",
                                       "{}",
                                       "a; b",
                                       "/x/.test(y)",
                                       "'x'.repeat(1e9)",
                                       "x.add.call(moment)",
                                       "0))]}});(function(){with({}){return [((1",
                                       "x => y",
                                       "`a`",
                                       "\\u0066unction",
                                       "m\\u006fment.fn",
                                       "'abc",
                                       "a /* b",
                                       "1 //\r, moment.fn.format = 1",
                                       "1 //\u2028, moment.fn.format = 1",
                                       "1 <!-- /*\n, moment.fn.format = 1 //*/",
                                       "a /* b */",
                                       "moment.fn\u180e.add(1)",
                                       "delete\u180e moment.add",
                                       "n\u180e+ 1",
                                       "n +\u00a01",
                                       "moment(t).format(n)",
                                       "moment(t).format('Y' + n)",
                                       "moment(t).format(('Y'))"}) {
    EXPECT_FALSE(is_harmless(expression)) << expression;
  }
}

/// All that an expression can reach from the global object and moment's locale, functions included.
const char* const everything = R"js((function(){
  var seen = [], text = [];
  (function see(value, path) {
    if (value === null || typeof value != 'object' && typeof value != 'function') { text.push(path + '=' + typeof value + ' ' + value); return; }
    var known = seen.indexOf(value);
    if (known >= 0) { text.push(path + '#' + known); return; }
    seen.push(value);
    text.push(path + ':' + Object.prototype.toString.call(value) + Object.isExtensible(value) + (value instanceof Date ? +value : ''));
    see(Object.getPrototypeOf(value), path + '^');
    Object.getOwnPropertyNames(value).forEach(function(name) {
      if (path == '.1' && /^_.*(Parse|Regex)$/.test(name)) return;  // made when it is first needed, the same for all
      var property = Object.getOwnPropertyDescriptor(value, name);
      text.push(path + '.' + name + property.writable + property.enumerable + property.configurable);
      if (property.get) { see(property.get, path + '.get ' + name); see(property.set, path + '.set ' + name); }
      else see(property.value, path + '.' + name);
    });
  })([new Function('return this')(), moment.localeData(), moment.locale()], '');
  return text.join('\n');
})())js";

/// Random expressions of what harmless ones are made of, and of what they must not be.
class RandomExpressions {
 public:
  RandomExpressions(unsigned seed, std::vector<std::string> names) : random_(seed), names_(std::move(names)) {}

  std::string next(int depth = 4) {
    const auto deeper = [&] { return next(depth - 1); };
    switch (depth <= 0 ? below(4) : below(12)) {
      case 0: return std::to_string(below(100));
      case 1: return one_of(std::vector<std::string>{"'days'", "'2026-01-02'", "'YYYY-MM-DD'", "'l'", "'ja'", "''", "'1'", "'x'"});
      case 2: return one_of(names_);
      case 3: return one_of(std::vector<std::string>{"moment", "t", "n", "o", "o.list", "o.object", "o.moment", "moment.utc", "String"});
      case 4: return one_of(calls_) + "(" + deeper() + ")";
      case 5: return deeper() + "." + one_of(methods_) + "(" + (below(2) == 0 ? deeper() + ", " : "") + deeper() + ")";
      case 6: return deeper() + "." + one_of(names_) + blank();
      case 7:
        return deeper() + blank() + one_of(std::vector<std::string>{"+", "-", "*", "<", "==", "&&", "||", ",", "=", "++"}) + blank() +
               deeper();
      case 8: return deeper() + " ? " + deeper() + " : " + deeper();
      case 9: return "(" + deeper() + ")";
      case 10: return "moment(" + deeper() + ", " + deeper() + ", 'ja')." + one_of(methods_) + "(" + deeper() + ")";
      default: return one_of(std::vector<std::string>{"!", "-", "+", "typeof ", "void ", "delete"}) + blank() + deeper();
    }
  }

 private:
  std::size_t below(std::size_t count) { return random_() % count; }
  std::string one_of(const std::vector<std::string>& all) { return all[below(all.size())]; }

  /// Mostly none or one of ASCII.
  std::string blank() {
    return one_of(std::vector<std::string>{"", "", "", " ", " ", "\t", "\n", "\v", "\u00a0", "\u180e", "\u200b", "\u2003", "\u2028",
                                           "\ufeff", "\u0085"});
  }

  std::mt19937 random_;
  const std::vector<std::string> names_;
  const std::vector<std::string> calls_ = {"moment", "moment.utc", "String", "Number", "parseInt", "moment.unix", "moment.locale"};
  const std::vector<std::string> methods_ = {"add",  "subtract", "startOf", "endOf",    "clone",       "format", "utc",
                                             "year", "month",    "date",    "day",      "hour",        "week",   "isoWeek",
                                             "diff", "valueOf",  "slice",   "isBefore", "toUpperCase", "locale"};
};

ScriptEngine::Result evaluate(ScriptEngine& engine, const std::string& expression) {
  const Value scope = parse_json(R"({"t": "2026-01-02T03:04:05Z", "n": 3, "o": {
      "list": ["YYYY-MM-DD", 1], "object": {"toString": 1, "valueOf": 1}, "moment": {"_isAMomentObject": true, "_d": 1, "_locale": {}}}})");
  return engine.evaluate({expression}, scope, {64 << 20, 1});
}

/// What stands in the objects that an expression can reach.
std::vector<std::string> names_in(ScriptEngine& engine) {
  std::vector<std::string> names;
  for (const char* const object : {"new Function('return this')()", "moment", "moment.fn", "moment()", "moment.localeData()",
                                   "Object.getPrototypeOf(moment.localeData())", "String.prototype", "Object", "o"}) {
    const std::string list =
        "Object.getOwnPropertyNames(" + std::string(object) + ").filter(function(x){return /^[a-zA-Z_]+$/.test(x)}).join()";
    for (const auto& name : split(evaluate(engine, list).values.at(0), ',')) names.emplace_back(name);
  }
  return names;
}

TEST(Harmless, LeavesTheEngineAsItWas) {
  ScriptEngine engine;
  const std::vector<std::string> names = names_in(engine);
  ASSERT_GT(names.size(), 200u);
  ASSERT_TRUE(evaluate(engine, "moment().eraYear() + moment().format('l ll lll llll')").error.empty()) << "what moment makes once is made";
  const std::string before = evaluate(engine, everything).values.at(0);
  ASSERT_GT(before.size(), 50'000u);

  RandomExpressions expressions(2, names);
  int harmless = 0, worked = 0;
  while (harmless < 6000) {
    const std::string expression = expressions.next();
    if (!is_harmless(expression)) continue;
    ++harmless;
    if (evaluate(engine, expression).error.empty()) ++worked;
    if (harmless % 1500 != 0) continue;
    ASSERT_EQ(evaluate(engine, everything).values.at(0), before) << "after " << expression << " or one of those before it";
  }
  EXPECT_GT(worked, 500);
  ASSERT_TRUE(evaluate(engine, "moment.fn.left = 1").error.empty());
  EXPECT_NE(evaluate(engine, everything).values.at(0), before) << "what is left behind is seen";
}

TEST(Harmless, GivesTheSameAfterOthersAsAlone) {
  ScriptEngine used;
  RandomExpressions expressions(1, names_in(used));
  int compared = 0;
  for (int i = 0; compared < 200; ++i) {
    const std::string expression = expressions.next();
    if (!is_harmless(expression)) continue;
    const ScriptEngine::Result after_others = evaluate(used, expression);
    if (i % 8 != 0 || !after_others.pure) continue;  // an engine costs as much as many evaluations
    ScriptEngine fresh;
    const ScriptEngine::Result alone = evaluate(fresh, expression);
    ASSERT_EQ(after_others.values, alone.values) << expression;
    ASSERT_EQ(after_others.error, alone.error) << expression;
    ++compared;
  }
}

}  // namespace
}  // namespace digdag::dig
