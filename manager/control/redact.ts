import type {
  Autoscaling,
  Cluster,
  Service,
  ServiceSpec,
  StoreObject,
  Task,
  TaskSpec,
} from '../../shared/gen/shoal/v1/objects.ts';

/**
 * What may leave the managers: no secret's data, no registry credentials, no signing key and no
 * token, of decisions the last one. Objects without any of them come back as they are.
 */
export function redact(object: StoreObject): StoreObject {
  const { kind } = object;
  switch (kind?.$case) {
    case 'secret': {
      const { value } = kind;
      if (value.spec === undefined) return object;
      const spec = { ...value.spec, data: Buffer.alloc(0) };
      return { kind: { $case: 'secret', value: { ...value, spec } } };
    }
    case 'service':
      return { kind: { $case: 'service', value: redactService(kind.value) } };
    case 'task':
      return { kind: { $case: 'task', value: redactTask(kind.value) } };
    case 'cluster':
      return { kind: { $case: 'cluster', value: redactCluster(kind.value) } };
    case 'autoscaling':
      return { kind: { $case: 'autoscaling', value: lastOnly(kind.value) } };
    default:
      return object;
  }
}

/** Who follows the decisions is told each; the whole log is asked for by a call of its own. */
function lastOnly(scaling: Autoscaling): Autoscaling {
  const records = scaling.records.slice(-1).map((record) => ({ ...record, inputJson: '' }));
  return { ...scaling, records, memory: undefined };
}

export function redactCluster(cluster: Cluster): Cluster {
  const { rootCa } = cluster;
  if (rootCa === undefined) return { ...cluster, unlockKey: Buffer.alloc(0) };
  const { certificatePem, rotation, former } = rootCa;
  return {
    ...cluster,
    unlockKey: Buffer.alloc(0),
    rootCa: {
      certificatePem,
      keyPem: '',
      workerSecret: '',
      managerSecret: '',
      rotation: rotation && { ...rotation, keyPem: '' },
      former,
    },
  };
}

function redactService(service: Service): Service {
  const spec = redactServiceSpec(service.spec);
  const previousSpec = redactServiceSpec(service.previousSpec);
  if (spec === service.spec && previousSpec === service.previousSpec) return service;
  return { ...service, spec, previousSpec };
}

function redactServiceSpec(spec: ServiceSpec | undefined): ServiceSpec | undefined {
  const task = redactTaskSpec(spec?.task);
  return spec === undefined || task === spec.task ? spec : { ...spec, task };
}

function redactTask(task: Task): Task {
  const spec = redactTaskSpec(task.spec);
  return spec === task.spec ? task : { ...task, spec };
}

function redactTaskSpec(spec: TaskSpec | undefined): TaskSpec | undefined {
  if (!spec?.container?.registryAuth) return spec;
  return { ...spec, container: { ...spec.container, registryAuth: '' } };
}
