// Answers as the HTTP API of Prometheus documents them (querying/api, instant queries).
import test from 'ava';
import { queryPath, valueOfAnswer } from '../../../../manager/autoscaler/sources/prometheus.ts';

const vector = (...values: string[]) => ({
  status: 'success',
  data: {
    resultType: 'vector',
    result: values.map((value) => ({ metric: { job: 'web' }, value: [1_700_000_000.1, value] })),
  },
});

const VALUES: readonly [string, unknown, number][] = [
  ['a vector of one', vector('12.5'), 12.5],
  ['an exponent', vector('1.5e+06'), 1_500_000],
  ['a vector of none', vector(), 0],
  ['a scalar', { status: 'success', data: { resultType: 'scalar', result: [1, '3'] } }, 3],
  ['a warning beside', { ...vector('4'), warnings: ['slow'] }, 4],
];
for (const [title, answer, value] of VALUES) {
  test(`the value of ${title} is ${value}`, (t) => {
    t.is(valueOfAnswer(answer), value);
  });
}

const REFUSED: readonly [string, unknown, RegExp][] = [
  ['two series', vector('1', '2'), /gives 2 series.*sum/],
  ['no number', vector('NaN'), /gives NaN/],
  ['infinity', vector('+Inf'), /gives \+Inf/],
  [
    'a matrix',
    { status: 'success', data: { resultType: 'matrix', result: [] } },
    /gives a matrix: it must give one value/,
  ],
  [
    'a text',
    { status: 'success', data: { resultType: 'string', result: [1, '5'] } },
    /gives a string/,
  ],
  [
    'a query that is refused',
    { status: 'error', errorType: 'bad_data', error: 'parse error: unexpected end' },
    /the query failed: parse error: unexpected end/,
  ],
  ['another page', { hello: 1 }, /no answer of Prometheus/],
  ['an array', [], /no answer of Prometheus/],
  ['null', null, /no answer of Prometheus/],
  ['an empty value', vector(''), /no answer of Prometheus/],
  [
    'an element without a value',
    { status: 'success', data: { resultType: 'vector', result: [{}] } },
    /no answer of Prometheus/,
  ],
];
for (const [title, answer, message] of REFUSED) {
  test(`an answer with ${title} has no value, and it is said why`, (t) => {
    t.throws(() => valueOfAnswer(answer), { code: 'failed-precondition', message });
  });
}

test('the path of a query goes below the path that the server is under, and is escaped', (t) => {
  const query = 'sum(rate(a{b="c d"}[1m]))&x';
  for (const [base, prefix] of [
    ['/', ''],
    ['', ''],
    ['/prom/', '/prom'],
  ] as const) {
    const url = new URL(queryPath(base, query, 2_000), 'http://x');
    t.is(url.pathname, `${prefix}/api/v1/query`);
    t.is(url.searchParams.get('query'), query);
    t.is(url.searchParams.get('timeout'), '2000ms');
  }
});
