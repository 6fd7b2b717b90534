#include "dig/template.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "dig/js_tokens.h"
#include "dig/script_engine.h"
#include "dig/script_worker.h"
#include "dig/template_scanner.h"
#include "dig/template_value.h"

namespace digdag::dig {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::StartsWith;

class TemplateTest : public testing::Test {
 protected:
  static ScriptWorker& worker() {
    static ScriptWorker shared;
    return shared;
  }

  Evaluated evaluated(const std::string& params, const std::string& local, const Origins& origins = {}, bool lenient = false,
                      TemplateOptions options = {}) const {
    const TemplateEngine engine(worker(), options);
    return engine.evaluate(parse_json(params), parse_json(local), origins, TimeZone(), lenient);
  }
  std::string all(const std::string& params, const std::string& local) const { return to_json(evaluated(params, local).all); }
  std::string text(const std::string& expression, const std::string& params = "{}", TemplateOptions options = {}) const {
    const TemplateEngine engine(worker(), options);
    return engine.render(expression, parse_json(params), TimeZone());
  }
  std::string error(const std::string& params, const std::string& local) const {
    try {
      return "no error: " + all(params, local);
    } catch (const Error& failure) {
      return failure.message_with_kind();
    }
  }
  /// The texts that may be replaced by secrets.
  static std::vector<std::string> secrets(const Evaluated& evaluated, const std::string& key) {
    std::vector<std::string> found;
    const auto spans = evaluated.secret_spans.find("/" + key);
    if (spans == evaluated.secret_spans.end()) return found;
    for (const auto& [at, length] : spans->second) found.push_back(evaluated.all.find(key)->as_string().substr(at, length));
    return found;
  }
};

// ---- order and scope (spec/language.md 8.1) ----------------------------------------------------------------------------

TEST_F(TemplateTest, AStringSeesParamsAndWhatStandsBeforeItInItsObject) {
  EXPECT_THAT(error("{}", R"({"a": "${b}", "b": "1"})"), HasSubstr("b is not defined"));
  EXPECT_EQ(all("{}", R"({"b": "1", "a": "${b}"})"), R"({"b":"1","a":"1"})");
  EXPECT_EQ(all(R"({"a": "${b}", "b": "x"})", "{}"), R"({"a":"x","b":"x"})");
  EXPECT_EQ(all(R"({"c": "x", "b": "${c}", "a": "${b}"})", "{}"), R"({"c":"x","b":"x","a":"x"})");
}

TEST_F(TemplateTest, ALocalKeyKeepsTheEarlyPlaceOfTheParamThatItReplaces) {
  EXPECT_EQ(all(R"({"b": "old"})", R"({"a": "${b}", "b": "new"})"), R"({"b":"new","a":"new"})");
}

TEST_F(TemplateTest, EvaluationGoesOneLevelDeep) {
  EXPECT_EQ(all(R"({"a": "${b}", "b": "${c}", "c": "x"})", "{}"), R"({"a":"${c}","b":"x","c":"x"})");
  EXPECT_EQ(all(R"({"a": "${a}"})", "{}"), R"({"a":"${a}"})");
}

TEST_F(TemplateTest, ANestedObjectSeesItsOwnEntriesThenTheParams) {
  EXPECT_EQ(all(R"({"x": "p"})", R"({"x": "0", "o": {"z": {"y": "${x}"}}})"), R"({"x":"0","o":{"z":{"y":"p"}}})");
  EXPECT_EQ(all("{}", R"({"o": {"x": "${1+1}", "y": "${x}"}})"), R"({"o":{"x":"2","y":"2"}})");
  EXPECT_EQ(all(R"({"m": {"x": "1", "y": "${m.x}"}})", R"({"e": "${m.y}"})"), R"({"m":{"x":"1","y":"1"},"e":"1"})");
  EXPECT_THAT(error("{}", R"({"o": {"x": 1, "y": "${o.x}"}})"), HasSubstr("o is not defined"));
}

TEST_F(TemplateTest, ANameThatIsOtherwiseUndefinedIsLookedUpInEnclosingObjects) {
  EXPECT_EQ(all("{}", R"({"x": "0", "o": {"y": "${x}"}})"), R"({"x":"0","o":{"y":"0"}})");
  EXPECT_EQ(all("{}", R"({"x": "a", "o": {"x": "b", "p": {"y": "${x + 1}"}}})"), R"({"x":"a","o":{"x":"b","p":{"y":"b1"}}})");
  EXPECT_EQ(all("{}", R"({"x": 1, "o": {"y": "${typeof x}"}})"), R"({"x":1,"o":{"y":"undefined"}})");
  EXPECT_THAT(error("{}", R"({"o": {"y": "${x}"}, "x": "0"})"), HasSubstr("x is not defined"));
}

TEST_F(TemplateTest, StringsInAnArraySeeTheEnclosingObjectAndObjectsInItBeginANewLevel) {
  EXPECT_EQ(all("{}", R"({"x": "0", "l": ["${x}"]})"), R"({"x":"0","l":["0"]})");
  EXPECT_EQ(all(R"({"a": "0"})", R"({"l": ["${a}", ["${a}1"], {"a": "9", "b": "${a}"}]})"),
            R"({"a":"0","l":["0",["01"],{"a":"9","b":"9"}]})");
}

TEST_F(TemplateTest, KeysAndTasksToComeStayAsTheyAre) {
  EXPECT_EQ(all("{}", R"({"_do": {"e": "${zz}"}, "o": {"_else_do": ["${zz}"]}, "${1+1}": "x"})"),
            R"({"_do":{"e":"${zz}"},"o":{"_else_do":["${zz}"]},"${1+1}":"x"})");
}

TEST_F(TemplateTest, OtherValuesKeepTheirTypeAndAreShared) {
  const Value big = parse_json(R"({"big": {"rows": [1, 2.0, null, true, "no dollar"]}, "x": "${1}"})");
  const TemplateEngine engine(worker(), {});
  const Value result = engine.evaluate(big, Value::object(), {}, TimeZone()).all;
  EXPECT_TRUE(result.find("big")->same_as(*big.find("big")));
  EXPECT_EQ(*result.find("x"), Value("1"));
}

TEST_F(TemplateTest, ALaterTextSeesWhatJavaScriptGaveForAnEarlierOne) {
  EXPECT_EQ(all("{}", R"({"a": "${1+1}", "b": "${a}${a*2}", "c": {"d": "${'x'+1}", "e": "${d}"}, "f": "${c.e}", "g": "${c}"})"),
            R"({"a":"2","b":"24","c":{"d":"x1","e":"x1"},"f":"x1","g":"{\"d\":\"x1\",\"e\":\"x1\"}"})");
  EXPECT_EQ(all("{}", R"({"l": ["${1+1}", {"z": "${2+2}"}], "m": "${l[0] + l[1].z}", "n": "${this.m}"})"),
            R"({"l":["2",{"z":"4"}],"m":"24","n":"24"})");
}

// ---- cutting a text (8.3) ----------------------------------------------------------------------------------------------

TEST_F(TemplateTest, TextsAreCutAsTheSpecificationListsThem) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"x${a}y", "xby"},
      {"$", "$"},
      {"$n", "$n"},
      {"$(n)", "$(n)"},
      {"$ {n}", "$ {n}"},
      {"$$", "$"},
      {"$$$", "$$"},
      {"$$$$", "$$"},
      {"$${n}", "$1"},
      {"$$${n}", "$1"},
      {"$$$${n}", "$$1"},
      {"\\${n}", "\\1"},
      {"${}", ""},
      {"x${}y", "xy"},
      {"${n", "${n"},
      {"a ${n b", "a ${n b"},
      {"${n} ${n", "1 ${n"},
      {"${n}}", "1}"},
      {"${{}}", "{}"},
      {"${ {x:a} }", R"({"x":"b"})"},
      {"${{x:{y:a}}}", R"({"x":{"y":"b"}})"},
      {"${'{}'}", "{}"},
      {"${'{'+'}'}", "{}"},
      {"${(function(x){return x})(n)}", "1"},
      {"${secret:db.pw}", "${secret:db.pw}"},
      {"${abc:n}", "${abc:n}"},
      {"${http://x}", "${http://x}"},
      {"${a:}", "${a:}"},
      {"${secret:x} ${n}", "${secret:x} 1"},
      {"${secret:${a}}", "${secret:b}"},
      {"$${secret:a}", "${secret:a}"},
      {"${t ? {x:1} : {y:2}}", R"({"x":1})"},
      {"${'a$$b'}", "a$$b"},
      {"#{n} {{n}} %{n}", "#{n} {{n}} %{n}"},
      {"${a // c\n}", "b"},
      {"${1)+(2}", "3"},
      {"${a}$$", "b$"},
      {"${\na\n}", "b"},
  };
  for (const auto& [given, expected] : table) EXPECT_EQ(text(given, R"({"a": "b", "n": 1, "t": true})"), expected) << given;
}

TEST_F(TemplateTest, BracesThatBalanceOnlyOutsideOfQuotesAreFoundToo) {
  EXPECT_EQ(text("${'{'}"), "{");
  EXPECT_EQ(text("${/* { */ 1}"), "1");
  EXPECT_EQ(text("${/{/.test('{')}"), "true");
  EXPECT_EQ(text("${4 / 2 + '{'} x"), "2{ x");
  EXPECT_EQ(text("${'${'} and {", "{}"), "${ and {");
}

TEST_F(TemplateTest, WithoutTheExtendedSyntaxAnExpressionEndsAtTheFirstBrace) {
  TemplateOptions old;
  old.extended_syntax = false;
  EXPECT_EQ(text("${'{'}", "{}", old), "{");
  EXPECT_EQ(text("${}", "{}", old), "${}");
  EXPECT_EQ(text("${n}}", R"({"n": 1})", old), "1}");
  EXPECT_THROW(text("${{}}", "{}", old), Error);
}

TEST(TemplateScanner, FindsPathsAndTheNamesThatAnExpressionUses) {
  const auto only = [](std::string_view code) {
    const Template scanned = scan_template("${" + std::string(code) + "}", true);
    return std::get<Expression>(scanned.pieces.at(0));
  };
  EXPECT_TRUE(only("a").path);
  EXPECT_TRUE(only(" a . b [ 0 ] ['c d'] [\"e\"] ").path);
  for (const char* const code : {"this", "null", "a.b()", "a[01]", "a[b]", "a['\\n']", "1", "a b", "été", "typeof a", "a[-1]"})
    EXPECT_FALSE(only(code).path) << code;
  EXPECT_THAT(only("f(a.b, 'c d', 12e3)").identifiers, ElementsAre("a", "b", "c", "d", "f"));
  EXPECT_THAT(only("日本\u3000+\u00a0x").identifiers, ElementsAre("x", "日本"));
  EXPECT_FALSE(only("o.hasOwnProperty('k')").dynamic);
  for (const char* const code : {"this.x", "eval('x')", "hasOwnProperty('k')", "\\u0061"}) EXPECT_TRUE(only(code).dynamic) << code;
}

TEST(TemplateScanner, NamesSyntaxThatIsNewerThanEs5) {
  EXPECT_EQ(newer_syntax("l.map(x => x)"), "an arrow function");
  EXPECT_EQ(newer_syntax("`x`"), "a template literal");
  EXPECT_EQ(newer_syntax("a?.b"), "the ?. operator");
  EXPECT_EQ(newer_syntax("a ?? b"), "the ?? operator");
  EXPECT_EQ(newer_syntax("2 ** 3"), "the ** operator");
  EXPECT_EQ(newer_syntax("f(...l)"), "spread syntax");
  EXPECT_EQ(newer_syntax("(function(){ let x = 1 })()"), "let");
  EXPECT_EQ(newer_syntax("0b11"), "a 0b number");
  for (const char* const code : {"a?.5:1", "'=>'", "/=>/", "a /* ** */ + b", "x.let", "{class: 1}", "0x1b", "a ? b : c", "1 / 2 / 3"}) {
    EXPECT_FALSE(newer_syntax(code)) << code;
  }
}

// ---- values (8.2, 8.4) -------------------------------------------------------------------------------------------------

TEST_F(TemplateTest, PathsGiveWhatJavaScriptWouldGive) {
  const std::string params = R"({"s": "Hi", "n": 1.0, "big": 12345678901234567890, "p": 9007199254740993, "f": 1e21, "z": null, "t": true,
      "o": {"b": 1, "a": {"x": [1, null, "q\"\u0001"]}, "10": 1, "9": 2}, "l": [1, [2]], "e": "", "w": "日🎉", "line": "\u2028"})";
  for (const char* const path : {"s",        "n",        "big",   "p",        "f",        "z",        "t",
                                 "o",        "o.a",      "o.a.x", "o.a.x[0]", "o.a.x[1]", "o.a.x[2]", "o.nope",
                                 "o['10']",  "o[9]",     "l",     "l[0]",     "l[1][0]",  "l[7]",     "l.length",
                                 "s.length", "w.length", "e",     "w",        "line",     "l['0']",   "o.a.x.length",
                                 "s[0]",     "n.x",      "t.y"}) {
    const std::string expression = std::string("${") + path + "}";
    // A comma makes it an expression that JavaScript must evaluate.
    EXPECT_EQ(text(expression, params), text(std::string("${0, ") + path + "}", params)) << path;
  }
  EXPECT_EQ(text("${big} ${n} ${f} [${z}]", params), "12345678901234567000 1 1e+21 []");
  EXPECT_EQ(text("${o}", params), R"({"9":2,"10":1,"b":1,"a":{"x":[1,null,"q\"\u0001"]}})");
}

TEST_F(TemplateTest, AMissingVariableIsAnErrorAndAMissingPropertyIsNot) {
  EXPECT_EQ(error("{}", R"({"e": "a ${undef} b"})"),
            "Failed to evaluate a variable a ${undef} b (ReferenceError: undef is not defined) (config)");
  EXPECT_THAT(error(R"({"o": {}})", R"({"e": "${o.z.y}"})"), HasSubstr("(TypeError: Cannot read property 'y' of undefined)"));
  EXPECT_THAT(error(R"({"o": null})", R"({"e": "${o.y}"})"), HasSubstr("(TypeError: Cannot read property 'y' of null)"));
  EXPECT_THAT(error(R"({"o": {}})", R"({"e": "${o.x()}"})"), HasSubstr("(TypeError: "));
  EXPECT_EQ(text("[${o.x}]", R"({"o": {}})"), "[]");
}

TEST_F(TemplateTest, ParamsShadowGlobalsAndThisIsTheParams) {
  EXPECT_EQ(text("${Math} ${undefined} ${moment}", R"({"Math": "mm", "undefined": 5, "moment": "mo"})"), "mm 5 mo");
  EXPECT_EQ(text("${this['a-b']} ${this.x} ${Object.keys(this)}", R"({"a-b": 1, "c": 2})"), R"(1  ["a-b","c"])");
  EXPECT_EQ(text("${toString()} ${undefined}${NaN}"), "[object Object] null");
  EXPECT_EQ(text("${hasOwnProperty('q')}", R"({"q": 1})"), "true");
  EXPECT_EQ(text("${this['__proto__']}", R"({"__proto__": "own"})"), "own");
}

TEST_F(TemplateTest, AssignmentsReachTheRestOfTheTextAndNoOtherText) {
  EXPECT_EQ(text("${n = 5} ${n} ${x1 = 3}${x1}", R"({"n": 1})"), "5 5 33");
  EXPECT_EQ(all(R"({"n": 1})", R"({"a": "${n = 5}", "b": "${n}", "c": "${n + 1}"})"), R"({"n":1,"a":"5","b":"1","c":"2"})");
  EXPECT_THAT(error("{}", R"({"a": "${x1 = 3}", "b": "${x1 + 0}"})"), HasSubstr("x1 is not defined"));
  EXPECT_EQ(all("{}", R"({"a": "${String.prototype.trim = function() { return 'bad' }, 1}", "b": "${' x '.trim()}"})"),
            R"({"a":"1","b":"x"})");
}

TEST_F(TemplateTest, CharactersBeyondTheBasicPlanePassThrough) {
  EXPECT_EQ(text("${s + '🎉'} ${s.length} ${'🎉'.charAt(0)} ${[s]}", R"({"s": "a🎉"})"), "a🎉🎉 3 \ufffd [\"a🎉\"]");
  EXPECT_EQ(text("${JSON.stringify('\\u2028') + x}", "{\"x\": \"\u2028\"}"), "\"\u2028\"\u2028");
}

TEST_F(TemplateTest, OnlyASyntaxErrorMakesAnExpressionNoJavaScript) {
  const TemplateEngine engine(worker(), {});
  EXPECT_EQ(engine.syntax_fault("missing.x + 1"), std::nullopt);
  EXPECT_THAT(engine.syntax_fault("1 +").value(), StartsWith("SyntaxError: "));
  EXPECT_THROW(engine.syntax_fault(std::string(10'000, '(') + "1" + std::string(10'000, ')')), Error);
}

TEST(Templates, AreTextsThatEvaluationChanges) {
  for (const char* const text : {"${x}", "a ${x + 1}", "a$$b", "${}"}) EXPECT_TRUE(contains_template(Value(text))) << text;
  for (const char* const text : {"", "5$", "$x", "{x}", "${x", "${secret:key}"}) EXPECT_FALSE(contains_template(Value(text))) << text;
  EXPECT_TRUE(contains_template(parse_json(R"({"a": [1, {"b": "${x}"}]})")));
}

TEST_F(TemplateTest, NewerSyntaxIsRefusedWithTheReason) {
  EXPECT_THAT(error("{}", R"({"e": "${[1].map(x => x)}"})"), HasSubstr("(SyntaxError: an arrow function is newer than ES5.1"));
  EXPECT_THAT(error("{}", R"({"e": "${2 ** 3}"})"), HasSubstr("ES5.1"));
  EXPECT_EQ(text("${typeof Symbol} ${typeof Promise} ${typeof 'x'.includes} ${017} ${typeof Duktape}"),
            "undefined undefined undefined 15 undefined");
}

TEST_F(TemplateTest, ErrorsStandAtTheirKey) {
  Object local;
  local.set("ok", "x", Position{3, 3, file_id("w.dig")});
  Object nested;
  nested.set("bad", "${nope}", Position{7, 9, file_id("w.dig")});
  local.set("o", Value(std::move(nested)), Position{6, 3, file_id("w.dig")});
  const TemplateEngine engine(worker(), {});
  try {
    (void)engine.evaluate(Value::object(), Value(std::move(local)), {}, TimeZone());
    FAIL();
  } catch (const Error& failure) {
    EXPECT_EQ(to_string(failure.position()), "w.dig:7:9");
  }
}

TEST_F(TemplateTest, TheFirstErrorInTheOrderOfTheTextsIsReported) {
  EXPECT_THAT(error("{}", R"({"a": "${first()}", "b": "${second}"})"), HasSubstr("first is not defined"));
  EXPECT_THAT(error("{}", R"({"a": "${1+1}", "b": "${second}", "c": "${third()}"})"), HasSubstr("second is not defined"));
}

// ---- lenient handlers (L-20) -------------------------------------------------------------------------------------------

TEST_F(TemplateTest, AHandlerLeavesOutInheritedParamsThatFail) {
  const std::string params = R"({"ok": "fine", "bad": "${nope}", "uses": "${bad}", "js": "${nope()}", "last": "${ok}"})";
  const Evaluated result = evaluated(params, R"({"echo>": "${ok}"})", {}, true);
  EXPECT_EQ(to_json(result.all), R"({"ok":"fine","last":"fine","echo>":"fine"})");
  EXPECT_THAT(result.warnings,
              ElementsAre(HasSubstr("'bad' is left out: Failed to evaluate a variable ${nope} (ReferenceError: nope is not defined)"),
                          HasSubstr("'uses'"), HasSubstr("'js'")));
}

TEST_F(TemplateTest, AHandlersOwnKeysStayStrict) {
  EXPECT_THROW(evaluated("{}", R"({"echo>": "${nope}"})", {}, true), Error);
  EXPECT_THROW(evaluated(R"({"x": "${nope}"})", R"({"echo>": "${x}"})", {}, true), Error);
}

// ---- where a text came from (L-21) -------------------------------------------------------------------------------------

TEST_F(TemplateTest, FetchedDataIsLiteral) {
  Origins origins;
  origins.set("/http", Origin::data);
  const Evaluated result =
      evaluated(R"({"http": {"last_content": "${nope} ${secret:k}"}, "x": "got ${http.last_content}"})", "{}", origins);
  EXPECT_EQ(to_json(result.all), R"({"http":{"last_content":"${nope} ${secret:k}"},"x":"got ${nope} ${secret:k}"})");
  EXPECT_THAT(result.secret_spans, IsEmpty());
}

TEST_F(TemplateTest, StoredTextIsEvaluatedUnlessConfiguredOtherwise) {
  Origins origins;
  origins.set("/stored", Origin::stored);
  origins.set("/data", Origin::data);
  const std::string params = R"({"n": 1, "stored": "${n}", "data": "${n}"})";
  using Stored = TemplateOptions::StoredParams;
  for (const auto& [mode, expected] :
       std::vector<std::pair<Stored, std::string>>{{Stored::code, R"({"n":1,"stored":"1","data":"${n}"})"},
                                                   {Stored::all, R"({"n":1,"stored":"1","data":"1"})"},
                                                   {Stored::none, R"({"n":1,"stored":"${n}","data":"${n}"})"}}) {
    TemplateOptions options;
    options.stored_params = mode;
    EXPECT_EQ(to_json(evaluated(params, "{}", origins, false, options).all), expected);
  }
}

TEST_F(TemplateTest, SecretsAreReplacedOnlyInTextThatIsCode) {
  Origins origins;
  origins.set("/data", Origin::data);
  origins.set("/stored", Origin::stored);
  const Evaluated result = evaluated(R"({"data": "${secret:d}", "stored": "${secret:s}", "key": "k", "mine": "${secret:m}", "half": "}"})",
                                     R"({"a": "x ${secret:a} y ${ key } ${secret:${key}}", "b": "${data}", "c": "${stored}", "d": "${mine}",
        "e": "${secret:e} ${data} ${mine}", "f": "${'$' + '{secret:f}'}", "g": "${data.substring(0)}", "h": "${mine + data}",
        "i": "${e} ${secret:i}", "j": "${secret:${data}}", "n": ["${secret:n}"]})",
                                     origins);
  EXPECT_THAT(secrets(result, "a"), ElementsAre("${secret:a}", "${secret:k}"));
  EXPECT_THAT(secrets(result, "b"), IsEmpty());
  EXPECT_THAT(secrets(result, "c"), IsEmpty());
  EXPECT_THAT(secrets(result, "d"), ElementsAre("${secret:m}"));
  EXPECT_THAT(secrets(result, "e"), ElementsAre("${secret:e}", "${secret:m}"));
  EXPECT_THAT(secrets(result, "f"), ElementsAre("${secret:f}"));
  EXPECT_THAT(secrets(result, "g"), IsEmpty());
  EXPECT_THAT(secrets(result, "h"), IsEmpty());
  EXPECT_THAT(secrets(result, "i"), ElementsAre("${secret:e}", "${secret:m}", "${secret:i}"));
  EXPECT_THAT(secrets(result, "j"), IsEmpty());
  EXPECT_THAT(secrets(result, "stored"), IsEmpty());
  EXPECT_TRUE(result.secret_spans.contains("/n/0"));
}

TEST_F(TemplateTest, ALocalKeyThatReplacesDataIsCode) {
  Origins origins;
  origins.set("/http", Origin::data);
  origins.set("/x", Origin::data);
  const Evaluated result =
      evaluated(R"({"x": "${1}", "http": {"a": "${1}", "b": "${1}"}})", R"({"x": "${2} ${secret:x}", "http": {"a": "${3}"}})", origins);
  EXPECT_EQ(to_json(result.all), R"({"x":"2 ${secret:x}","http":{"a":"3","b":"${1}"}})");
  EXPECT_THAT(secrets(result, "x"), ElementsAre("${secret:x}"));
}

TEST(Origins, TheLongestPointerDecides) {
  Origins origins;
  origins.set("/a", Origin::data);
  origins.set("/a/b", Origin::code);
  origins.set("/a/b/0", Origin::stored);
  EXPECT_EQ(origins.of("/a"), Origin::data);
  EXPECT_EQ(origins.of("/a/x/y"), Origin::data);
  EXPECT_EQ(origins.of("/a/b/1"), Origin::code);
  EXPECT_EQ(origins.of("/a/b/0/z"), Origin::stored);
  EXPECT_EQ(origins.of("/ab"), Origin::code);
}

TEST(ExpandSecrets, ReplacesWhatIsAllowedAndNothingElse) {
  const auto lookup = [](std::string_view key) { return "<" + std::string(key) + ">"; };
  EXPECT_EQ(expand_secrets("a ${secret:x} ${secret: y } ${secret:z}", {{2, 11}, {14, 13}}, lookup), "a <x> <y> ${secret:z}");
  EXPECT_EQ(expand_secrets("${secret:x}", {}, lookup), "${secret:x}");
  try {
    expand_secrets("${other:x}", {{0, 10}}, lookup);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message_with_kind(), "Invalid parametrization: '${other:x}' (config)");
  }
}

// ---- what is remembered ------------------------------------------------------------------------------------------------

TEST_F(TemplateTest, ResultsAreRememberedUnlessTheClockOrChanceWasAsked) {
  ScriptWorker own;
  const TemplateEngine engine(own, {});
  const auto twice = [&](const char* expression) {
    const std::string first = engine.render(expression, Value::object(), TimeZone());
    return first == engine.render(expression, Value::object(), TimeZone());
  };
  EXPECT_FALSE(twice("${Math.random()}"));
  EXPECT_FALSE(twice("${(function(){ var t = moment(); while (moment() - t < 3); return +moment() })()}"));
  EXPECT_FALSE(twice("${(function(){ var t = new Date(); while (new Date() - t < 3); return +new Date() })()}"));
  EXPECT_FALSE(
      twice("${(function(){ var t = Date.now(); while (Date.now() - t < 3); return moment('10:30', 'HH:mm') - 0 + Date.now() })()}"));
  EXPECT_TRUE(twice("${moment('2016-01-02T03:04:05Z').format()}"));
}

TEST_F(TemplateTest, RememberedResultsBelongToTheirVariablesAndZone) {
  const TemplateEngine engine(worker(), {});
  const auto hour = [&](int n, const char* zone) {
    return engine.render("${new Date(n).getHours()}", Value::object({{"n", n}, {"other", 1}}), *TimeZone::of(zone));
  };
  EXPECT_EQ(hour(0, "UTC"), "0");
  EXPECT_EQ(hour(3'600'000, "UTC"), "1");
  EXPECT_EQ(hour(0, "Asia/Tokyo"), "9");
  EXPECT_EQ(hour(0, "UTC"), "0");
}

// ---- names that JavaScript knows ---------------------------------------------------------------------------------------

TEST(TemplateValue, EveryGlobalNameOfTheEngineIsKnown) {
  ScriptEngine engine;
  for (const std::string& name : engine.global_names()) EXPECT_TRUE(is_javascript_name(name)) << name;
  for (const char* const name : {"toString", "hasOwnProperty", "arguments", "print"}) EXPECT_TRUE(is_javascript_name(name)) << name;
  EXPECT_FALSE(is_javascript_name("session_time"));
}

}  // namespace
}  // namespace digdag::dig
