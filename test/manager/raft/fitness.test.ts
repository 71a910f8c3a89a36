import test from 'ava';
import { Fitness } from '../../../manager/raft/fitness.ts';

const well = { leads: true, diskFull: false, handedOut: 5, applied: 5 };

test('a leader whose state machine takes nothing for 15 s had better hand over', (t) => {
  const fitness = new Fitness(10);
  const stuck = { ...well, handedOut: 6 };
  for (let i = 1; i < 150; i++) t.is(fitness.tick(stuck), undefined);
  t.regex(fitness.tick(stuck) ?? '', /state machine/);
  t.is(fitness.tick(stuck), undefined, 'said once, and then again after as long');
});

test('who is in step in between, or leads nobody, is not stuck', (t) => {
  const fitness = new Fitness(10);
  for (let i = 1; i < 150; i++) fitness.tick({ ...well, handedOut: 6 });
  t.is(fitness.tick(well), undefined);
  t.is(fitness.tick({ ...well, handedOut: 6 }), undefined);
  for (let i = 0; i < 400; i++) {
    t.is(fitness.tick({ ...well, leads: false, handedOut: 6, diskFull: true }), undefined);
  }
});

test('a leader whose disk is full is asked to hand over once in an election timeout', (t) => {
  const fitness = new Fitness(10);
  const told = Array.from({ length: 30 }, () => fitness.tick({ ...well, diskFull: true }));
  t.is(told.filter((why) => why === 'the disk is full').length, 3);
});
