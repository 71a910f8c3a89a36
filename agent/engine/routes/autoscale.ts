import { isShoalError, ShoalError } from '../../../shared/errors.ts';
import type { AutoscaleSpec } from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { Service } from '../../../shared/gen/shoal/v1/objects.ts';
import { changedSettings } from '../../../shared/model/autoscale-change.ts';
import { isKnownPrefix } from '../../../shared/model/autoscale-keys.ts';
import { parseAutoscaleLabels } from '../../../shared/model/autoscale-labels.ts';
import { parseSettings } from '../../../shared/model/autoscale-settings.ts';
import { settingsOf } from '../../../shared/model/autoscale-settings-of.ts';
import { autoscaleWarnings } from '../autoscale-warnings.ts';
import { exact, isObject, maybe, textMap, texts } from '../codec.ts';
import type { EngineDeps } from '../deps.ts';
import { type Call, HttpError, isTrue, json, type Reply } from '../http.ts';
import { autoscaleSpec } from '../json/autoscale.ts';
import { autoscalingJson } from '../json/autoscaling.ts';
import type { Route } from '../router.ts';

/** Beside the autoscaler itself, which writes once a second at most, hardly anybody changes a service at a time. */
const ATTEMPTS = 5;

/** How services follow their load: shown, and changed without sending a whole spec. */
export function autoscaleRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /autoscale', (call) => list(deps, call)],
    ['GET /services/{id}/autoscale', (call) => inspect(deps, call)],
    ['POST /services/{id}/autoscale', (call) => change(deps, call)],
  ];
}

async function list(deps: EngineDeps, call: Call): Promise<Reply> {
  const request = { services: [], records: isTrue(call.query.get('records')), replay: false };
  const { services } = await deps.access.control().autoscaling(request, call.signal);
  return json(services.map(autoscalingJson));
}

async function inspect(deps: EngineDeps, call: Call): Promise<Reply> {
  const replay = isTrue(call.query.get('replay'));
  const records = replay || call.query.get('records') === null || isTrue(call.query.get('records'));
  const request = { services: [call.params.id ?? ''], records, replay };
  const { services } = await deps.access.control().autoscaling(request, call.signal);
  const [only] = services;
  if (only === undefined) throw new HttpError(404, `service ${call.params.id} not found`);
  return json(autoscalingJson(only));
}

/** Either the whole field (null: take it away), or settings to set and to unset in what the service says now. */
const changeRequest = exact<{
  autoscale: AutoscaleSpec | undefined;
  set: { [key: string]: string };
  unset: string[];
}>({
  autoscale: ['Autoscale', maybe(autoscaleSpec)],
  set: ['Set', textMap],
  unset: ['Unset', texts],
});

async function change(deps: EngineDeps, call: Call): Promise<Reply> {
  const body = await call.json();
  const { autoscale, set, unset } = changeRequest.decode(body, '');
  const names = isObject(body) ? Object.keys(body).map((name) => name.toLowerCase()) : [];
  const isWhole = names.includes('autoscale');
  if (isWhole === (names.includes('set') || names.includes('unset'))) {
    throw new HttpError(400, 'give either Autoscale, or Set and Unset');
  }
  const control = deps.access.control();
  for (let attempt = 1; ; attempt++) {
    const service = await control.get('service', call.params.id ?? '', call.signal);
    if (service.spec === undefined) throw new HttpError(404, 'the service has no spec');
    const wanted = isWhole ? autoscale : withChanges(service, set, unset);
    const spec = { ...service.spec, autoscale: wanted };
    try {
      const updated = await control.update(
        {
          id: service.id,
          version: service.meta?.version ?? 0,
          object: { kind: { $case: 'service', value: { ...service, spec } } },
          rollback: false,
          registryAuthFrom: '',
          removeAutoscale: wanted === undefined,
        },
        call.signal,
      );
      const after = updated.kind?.$case === 'service' ? updated.kind.value : service;
      return json({ Warnings: autoscaleWarnings(spec, service, after) });
    } catch (error) {
      // The autoscaler changed the count meanwhile, or somebody the service: it is read anew.
      const cause = error instanceof Error ? error.cause : undefined;
      if (!isShoalError(cause, 'out-of-sequence') || attempt === ATTEMPTS) throw error;
    }
  }
}

function withChanges(
  { spec }: Service,
  set: Readonly<Record<string, string>>,
  unset: readonly string[],
): AutoscaleSpec | undefined {
  // Nothing is said any more: what labels say holds again.
  if (unset.includes('*') && Object.keys(set).length === 0) return undefined;
  const unknown = unset.find((key) => key !== '*' && !isKnownPrefix(key));
  if (unknown !== undefined) {
    throw new ShoalError(
      'invalid-argument',
      `autoscale: ${unknown} is unknown: it cannot be unset`,
    );
  }
  const labels = parseAutoscaleLabels(spec?.labels ?? {});
  const now = spec?.autoscale ?? (labels?.ok === true ? labels.spec : undefined);
  if (now !== undefined && !unset.includes('*')) checkInSettings(now);
  const result = parseSettings(changedSettings(now, set, unset));
  if (result.ok) return result.spec;
  const problems = result.errors.map(
    ({ key, message, meant }) =>
      `${key} ${message}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
  );
  throw new ShoalError('invalid-argument', `autoscale: ${problems.join('; ')}`);
}

/** What settings cannot say would be gone after any change of another one. */
function checkInSettings(spec: AutoscaleSpec): void {
  const said = parseSettings(settingsOf(spec));
  if (said.ok && said.spec.metrics.length < spec.metrics.length) {
    throw new ShoalError(
      'invalid-argument',
      'autoscale: settings cannot tell two metrics of one kind apart, as this service has them: send the whole Autoscale',
    );
  }
}
