import { ShoalError } from '../../shared/errors.ts';

/** The `config` part of an image's configuration document, as it is stored. */
export type RawImageConfig = {
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  User?: string;
  ExposedPorts?: Record<string, object>;
  Volumes?: Record<string, object>;
  Labels?: Record<string, string>;
  StopSignal?: string;
};

/**
 * Dockerfile instructions that change an image's configuration (`docker import --change`): CMD ENTRYPOINT ENV
 * EXPOSE LABEL STOPSIGNAL USER VOLUME WORKDIR. Throws `invalid-argument` for others.
 */
export function applyChanges(changes: readonly string[]): RawImageConfig {
  const config: RawImageConfig = {};
  for (const change of changes) {
    const [, word = '', rest = ''] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(change) ?? [];
    if (word === '') continue;
    apply(config, word.toUpperCase(), rest);
  }
  return config;
}

function apply(config: RawImageConfig, word: string, rest: string): void {
  if (rest === '') throw invalid(`${word} requires at least one argument`);
  switch (word) {
    case 'CMD':
      config.Cmd = command(rest);
      return;
    case 'ENTRYPOINT':
      config.Entrypoint = command(rest);
      return;
    case 'ENV': {
      const names = new Map((config.Env ?? []).map((entry) => [entry.split('=')[0] ?? '', entry]));
      for (const [name, value] of pairs(word, rest)) names.set(name, `${name}=${value}`);
      config.Env = [...names.values()];
      return;
    }
    case 'LABEL':
      config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(word, rest)) };
      return;
    case 'EXPOSE':
      for (const port of words(rest)) {
        if (!/^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/.test(port)) {
          throw invalid(`invalid containerPort: ${port}`);
        }
        const key = port.includes('/') ? port : `${port}/tcp`;
        config.ExposedPorts = { ...config.ExposedPorts, [key]: {} };
      }
      return;
    case 'VOLUME':
      for (const path of jsonArray(rest) ?? words(rest)) {
        config.Volumes = { ...config.Volumes, [path]: {} };
      }
      return;
    case 'USER':
      config.User = rest;
      return;
    case 'WORKDIR':
      // A relative one is below the one before it.
      config.WorkingDir = rest.startsWith('/') ? rest : `${config.WorkingDir ?? ''}/${rest}`;
      return;
    case 'STOPSIGNAL':
      config.StopSignal = rest;
      return;
    default:
      throw invalid(`${word.toLowerCase()} is not a valid change command`);
  }
}

/** `["a","b"]` as it is; anything else is for a shell. */
function command(text: string): string[] {
  return jsonArray(text) ?? ['/bin/sh', '-c', text];
}

function jsonArray(text: string): string[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
  } catch {
    // Then it is plain text.
  }
  return undefined;
}

/** `A=1 B="two words"`, or the old form `NAME the rest`. */
function pairs(word: string, text: string): [string, string][] {
  const all = words(text);
  if (all[0]?.includes('=') !== true) {
    const [, name = '', value = ''] = /^(\S+)\s+([\s\S]*)$/.exec(text) ?? [];
    if (name === '') throw invalid(`${word} must have two arguments`);
    return [[name, value]];
  }
  return all.map((each) => {
    const equals = each.indexOf('=');
    if (equals <= 0) {
      throw invalid(`Syntax error - can't find = in "${each}". Must be of the form: name=value`);
    }
    return [each.slice(0, equals), each.slice(equals + 1)];
  });
}

/** Cut at blanks outside quotes; quotes and backslashes are taken away. */
function words(text: string): string[] {
  const found: string[] = [];
  let current: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char === '\\' && quote !== "'" && at + 1 < text.length) {
      at += 1;
      current = (current ?? '') + text[at];
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else current = (current ?? '') + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      current ??= '';
    } else if (/\s/.test(char)) {
      if (current !== undefined) found.push(current);
      current = undefined;
    } else current = (current ?? '') + char;
  }
  if (current !== undefined) found.push(current);
  return found;
}

function invalid(message: string): ShoalError {
  return new ShoalError('invalid-argument', message);
}
