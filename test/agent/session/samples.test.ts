import test from 'ava';
import { newest } from '../../../agent/session/samples.ts';
import { TaskSamples } from '../../../shared/gen/shoal/v1/autoscale.ts';

const message = (task: string, knocks: [string, number][] = []) =>
  TaskSamples.fromPartial({
    samples: task === '' ? [] : [{ taskId: task }],
    knocks: knocks.map(([serviceId, connections]) => ({ serviceId, connections })),
  });

test('newest() keeps the later samples, and the tries of both', (t) => {
  const both = newest(
    message('old', [['web', 2]]),
    message('new', [
      ['web', 1],
      ['db', 4],
    ]),
  );
  t.deepEqual(
    both,
    message('new', [
      ['web', 3],
      ['db', 4],
    ]),
  );
});

test('newest() of tries alone leaves the samples', (t) => {
  t.deepEqual(newest(message('old'), message('', [['web', 1]])), message('old', [['web', 1]]));
  t.deepEqual(newest(undefined, message('new')), message('new'));
});
