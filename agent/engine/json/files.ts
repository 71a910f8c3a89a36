import type {
  Config,
  ConfigSpec,
  Secret,
  SecretSpec,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { base64, type Codec, maybe, struct, text, textMap, via } from '../codec.ts';
import { metaFields } from './meta.ts';

/** Secrets and configs: named bytes. The same shape in both, but a secret's bytes are never shown. */
const templating: Codec<string> = via(
  maybe(struct<{ name: string }>({ name: ['Name', text] }, ['Options'])),
  (driver) => driver?.name ?? '',
  (name) => (name === '' ? undefined : { name }),
);

export const configSpec: Codec<ConfigSpec> = struct<ConfigSpec>({
  name: ['Name', text],
  labels: ['Labels', textMap],
  data: ['Data', base64],
  templating: ['Templating', templating],
});

export const secretSpec: Codec<SecretSpec> = struct<SecretSpec>(
  {
    name: ['Name', text],
    labels: ['Labels', textMap],
    data: ['Data', { decode: base64.decode, encode: () => undefined }],
    templating: ['Templating', templating],
  },
  ['Driver'],
);

export function configJson(config: Config) {
  const spec = config.spec ?? configSpec.decode(undefined, '');
  return { ...metaFields(config), Spec: configSpec.encode(spec) };
}

export function secretJson(secret: Secret) {
  const spec = secret.spec ?? secretSpec.decode(undefined, '');
  return { ...metaFields(secret), Spec: secretSpec.encode(spec) };
}
