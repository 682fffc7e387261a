#include "common/template/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const char data_text[] =
    "{\"Name\":\"web\",\"Id\":\"kbj0uwokclyhd0ukgdebcdw7g\",\"N\":3,\"Zero\":0,\"Ratio\":0.5,\"On\":true,\"Off\":false,"
    "\"List\":[\"a\",\"b\",\"c\"],\"Labels\":{\"z\":\"1\",\"a\":\"2\"},\"Nil\":null,\"Empty\":\"\","
    "\"Spec\":{\"Name\":\"deep\",\"Ports\":[{\"P\":80},{\"P\":443}]},\"Html\":\"<a & b>\"}";

struct example {
    const char *template;
    const char *expect; /* or, with a leading '!', what the error must contain */
};

static const struct example examples[] = {
    { "plain", "plain" },
    { "", "" },
    { "{{.Name}}-{{.Spec.Name}}", "web-deep" },
    { "{{ .N }} {{.On}} {{.Ratio}} {{.Nil}} {{.List}}", "3 true 0.5 <no value> [a b c]" },
    { "{{.Labels}}", "map[a:2 z:1]" },
    { "{{.}}", "" }, /* only must not crash; checked apart */
    { "{{range .List}}<{{.}}>{{end}}", "<a><b><c>" },
    { "{{range $i, $v := .List}}{{$i}}={{$v}};{{end}}", "0=a;1=b;2=c;" },
    { "{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=2;z=1;" },
    { "{{range $v := .Labels}}{{$v}}{{end}}", "21" },
    { "{{range .Nil}}x{{else}}none{{end}}", "none" },
    { "{{range 3}}{{.}}{{end}}", "012" },
    { "{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac" },
    { "{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a" },
    { "{{range .List}}{{$.Name}}{{end}}", "webwebweb" },
    { "{{range .Spec.Ports}}{{.P}} {{end}}", "80 443 " },
    { "{{if .On}}y{{else}}n{{end}}{{if .Off}}y{{else}}n{{end}}", "yn" },
    { "{{if .Off}}a{{else if eq .N 3}}b{{else}}c{{end}}", "b" },
    { "{{if and .On .N}}x{{end}}{{if or .Off .Zero}}y{{end}}{{if not .Off}}z{{end}}", "xz" },
    { "{{or .Empty \"other\"}} {{and .Zero .Foo}}", "other 0" },
    { "{{with .Spec}}{{.Name}}{{end}}{{with .Nil}}x{{else}}-{{end}}", "deep-" },
    { "{{with $x := .Spec}}{{$x.Name}}{{end}}", "deep" },
    { "{{$x := 1}}{{if .On}}{{$x = 2}}{{end}}{{$x}}", "2" },
    { "{{$x := .Spec}}{{$x.Name}}", "deep" },
    { "{{.Name | upper | printf \"%s!\"}}", "WEB!" },
    { "{{json .Labels}} {{json .Name}} {{json .Html}}", "{\"z\":\"1\",\"a\":\"2\"} \"web\" \"<a & b>\"" },
    { "{{join .List \", \"}}", "a, b, c" },
    { "{{split \"a,b\" \",\"}} {{index (split \"a,b\" \",\") 1}}", "[a b] b" },
    { "{{lower \"AbC\"}}{{upper \"abc\"}}{{title \"two words\"}}", "abcABCTwo Words" },
    { "[{{pad \"x\" 1 2}}]{{truncate .Id 5}}", "[ x  ]kbj0u" },
    { "{{println .Name .N}}", "web 3\n" },
    { "{{print .Name .N 4}}", "web3 4" },
    { "{{printf \"%.12s|%5d|%-5s|%q|%v|%t|%05d|%x\" .Id .N .Name .Name .List .On .N 255}}",
      "kbj0uwokclyh|    3|web  |\"web\"|[a b c]|true|00003|ff" },
    { "{{printf \"%d %s %s\" .Name .N}}", "%!d(string=web) %!s(int=3) %!s(MISSING)" },
    { "{{printf \"%5.1f%%\" .Ratio}}", "  0.5%" },
    { "{{len .List}}{{len .Name}}{{len .Labels}}", "332" },
    { "{{index .Labels \"z\"}}{{index .Labels \"nope\"}}{{index .List 0}}{{(index .Spec.Ports 1).P}}", "1a443" },
    { "{{slice .Id 0 3}} {{slice .List 1}}", "kbj [b c]" },
    { "{{eq .N 1 2 3}} {{ne .Name \"web\"}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge \"b\" \"a\"}}",
      "true false true true false true" },
    { "a {{- /* comment */ -}} b", "ab" },
    { "a\n{{- .Name -}}\n b{{/* c */}}", "awebb" },
    { "{{`raw \\n`}}{{\"q\\t\\u00e9\"}}", "raw \\nq\t\xc3\xa9" },
    { "{{html .Html}} {{urlquery .Html}} {{js \"it's\"}}", "&lt;a &amp; b&gt; %3Ca+%26+b%3E it\\'s" },
    { "{{-3}} {{0x10}} {{1.5}}", "-3 16 1.5" },
    { "{{.Maybe}}{{if .Maybe}}x{{end}}", "<no value>" },
    { "{{.Labels.nope}}", "<no value>" },
    { "{{twice \"x\"}}", "xx" },
    { "{{.Foo}}", "!template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo" },
    { "x\n {{.Name.Foo}}", "!:2:3: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type string" },
    { "{{.Nil.Foo}}", "!nil pointer evaluating" },
    { "{{.Name", "!template parsing error: template: :1: unclosed action" },
    { "{{if .On}}", "!unexpected EOF" },
    { "{{end}}", "!unexpected {{end}}" },
    { "{{else}}", "!unexpected {{else}}" },
    { "{{bogus}}", "!function \"bogus\" not defined" },
    { "{{\"abc}}", "!unterminated quoted string" },
    { "{{.Name 3}}", "!can't give argument to non-function .Name" },
    { "{{1 | .Name}}", "!non executable command in pipeline stage 2" },
    { "{{}}", "!missing value for command" },
    { "{{break}}", "!outside {{range}}" },
    { "{{/* x }}", "!unclosed comment" },
    { "{{(.Name}}", "!unclosed left paren" },
    { "{{.Name)}}", "!unexpected right paren" },
    { "{{$nope}}", "!undefined variable \"$nope\"" },
    { "{{index .List 7}}", "!error calling index: index out of range: 7" },
    { "{{lt 1 \"a\"}}", "!error calling lt: wrong type" },
    { "{{slice .List 2 1}}", "!slice index out of range" },
    { "{{range 1000000000}}{{end}}", "!too many evaluations" },
    { "{{range .Name}}{{end}}", "!range can't iterate over string" },
    { "{{$x := \"ab\"}}{{range 60}}{{$x = print $x $x}}{{end}}", "!at most" },
    { "{{range 100000}}xxxxxxxxxxxxxxxxxxxxxxxxx{{end}}", "!too many bytes of output" },
    { "{{fail}}", "!error calling fail: no such thing" },
};

static json_t *fn_twice(void *arg, json_t *const *args, size_t count, struct sw_err *err)
{
    (void)arg;
    (void)err;
    assert_int_equal(count, 1);
    return json_pack("s+", json_string_value(args[0]), json_string_value(args[0]));
}

static json_t *fn_fail(void *arg, json_t *const *args, size_t count, struct sw_err *err)
{
    (void)arg;
    (void)args;
    (void)count;
    (void)sw_fail(err, SW_NOT_FOUND, "no such thing");
    return NULL;
}

static const struct template_func own[] = { { "twice", fn_twice }, { "fail", fn_fail } };
static const char *const optional[] = { "Maybe", NULL };
static const char *const maps[] = { "Labels", NULL };
static const struct template_options options = { own, 2, NULL, optional, maps, 0 };

static void check(const struct example *example, json_t *data)
{
    struct sw_err err = { 0 };
    SW_AUTO(sw_free) char *text = NULL;
    int rc = template_expand(example->template, &options, data, &text, &err);
    if (example->expect[0] == '!') {
        if (rc == 0 || strstr(err.text, example->expect + 1) == NULL)
            fail_msg("'%s' gave '%s', error '%s'", example->template, rc == 0 ? text : "", err.text);
    } else if (rc != 0) {
        fail_msg("'%s' failed: %s", example->template, err.text);
    } else if (strcmp(example->template, "{{.}}") != 0) {
        assert_string_equal(text, example->expect);
    }
}

static void test_examples(void **state)
{
    (void)state;
    json_auto_t *data = json_loads(data_text, 0, NULL);
    assert_non_null(data);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        check(&examples[i], data);
}

/* Any cut of any example either works or fails with one clear line. */
static void test_cuts(void **state)
{
    (void)state;
    json_auto_t *data = json_loads(data_text, 0, NULL);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        size_t whole = strlen(examples[i].template);
        for (size_t len = 0; len < whole && whole < 60; len++) {
            struct sw_err err = { 0 };
            SW_AUTO(sw_free) char *cut = sw_strdup(examples[i].template);
            SW_AUTO(sw_free) char *text = NULL;
            cut[len] = '\0';
            if (template_expand(cut, &options, data, &text, &err) < 0)
                assert_memory_equal(err.text, "template parsing error: ", 24);
        }
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    SW_AUTO_BUF deep = { 0 };
    for (int i = 0; i < 60; i++)
        sw_buf_adds(&deep, "{{if true}}");
    assert_null(template_parse(sw_buf_str(&deep), NULL, &err));
    assert_non_null(strstr(err.text, "nested deeper than"));
    SW_AUTO_BUF parens = { 0 };
    sw_buf_adds(&parens, "{{");
    for (int i = 0; i < 60; i++)
        sw_buf_adds(&parens, "(");
    assert_null(template_parse(sw_buf_str(&parens), NULL, &err));
    assert_non_null(strstr(err.text, "nested deeper than"));
    SW_AUTO_BUF text = { 0 };
    for (int i = 0; i <= TEMPLATE_TEXT_MAX / 16; i++)
        sw_buf_adds(&text, "0123456789abcdef");
    assert_null(template_parse(sw_buf_str(&text), NULL, &err));
    assert_int_equal(err.code, SW_LIMIT);
}

static void test_json(void **state)
{
    (void)state;
    SW_AUTO_BUF out = { 0 };
    json_auto_t *value = json_pack("{s:s}", "b", "<&>");
    template_json(value, 1, &out);
    assert_string_equal(out.data, "{\"b\":\"\\u003c\\u0026\\u003e\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
