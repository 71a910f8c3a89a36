import test from 'ava';
import { joinHostPort } from '../../../shared/model/host-port.ts';

test('joinHostPort() puts IPv6 addresses into brackets, and nothing else', (t) => {
  t.is(joinHostPort('fd00::1', 1), '[fd00::1]:1');
  t.is(joinHostPort('10.0.0.1', 1), '10.0.0.1:1');
  t.is(joinHostPort('redis', 6379), 'redis:6379');
});
