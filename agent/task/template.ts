import { ShoalError } from '../../shared/errors.ts';

/** What `{{...}}` in a hostname, an environment entry or a mount may name: Swarm's fields. */
export type TemplateContext = Readonly<{
  service: Readonly<{ id: string; name: string; labels: Readonly<Record<string, string>> }>;
  node: Readonly<{ id: string; hostname: string; architecture: string; os: string }>;
  task: Readonly<{ id: string; name: string; slot: string }>;
}>;

const FIELDS: Readonly<Record<string, (context: TemplateContext) => string>> = {
  '.Service.ID': ({ service }) => service.id,
  '.Service.Name': ({ service }) => service.name,
  '.Node.ID': ({ node }) => node.id,
  '.Node.Hostname': ({ node }) => node.hostname,
  '.Node.Platform.Architecture': ({ node }) => node.architecture,
  '.Node.Platform.OS': ({ node }) => node.os,
  '.Task.ID': ({ task }) => task.id,
  '.Task.Name': ({ task }) => task.name,
  '.Task.Slot': ({ task }) => task.slot,
};

/**
 * Fills the placeholders of `text`. Throws ShoalError `invalid-argument` for a field there is not, and
 * for a label the service does not have.
 */
export function expandTemplate(text: string, context: TemplateContext): string {
  return text.replaceAll(/\{\{-?\s*(.*?)\s*-?\}\}/g, (_, expression: string) => {
    const field = FIELDS[expression];
    if (field !== undefined) return field(context);
    const label = labelOf(expression);
    const value = label === undefined ? undefined : context.service.labels[label];
    if (value !== undefined) return value;
    throw new ShoalError(
      'invalid-argument',
      `cannot expand "{{${expression}}}": known are ${Object.keys(FIELDS).join(', ')}, .Service.Labels.NAME and index .Service.Labels "NAME"`,
    );
  });
}

function labelOf(expression: string): string | undefined {
  return (
    /^\.Service\.Labels\.([A-Za-z_][\w]*)$/.exec(expression)?.[1] ??
    /^index\s+\.Service\.Labels\s+"([^"]+)"$/.exec(expression)?.[1]
  );
}
