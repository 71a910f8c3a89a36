import { samplingOf } from '../autoscaler/scaling.ts';
import type { ReadView } from '../store/types.ts';
import {
  endpointOf,
  hostOf,
  type Item,
  isKnown,
  type ParsedKey,
  takesTraffic,
  vipOf,
} from './items.ts';

/** What a key stands for now, the same for every node that sees it; undefined: there is no such item. */
export function itemOf(view: ReadView, { kind, first, second }: ParsedKey): Item | undefined {
  switch (kind) {
    case 'task': {
      const value = view.get('task', first);
      return value && isKnown(value) ? { $case: 'task', value } : undefined;
    }
    case 'secret': {
      const value = view.get('secret', first);
      return value && { $case: 'secret', value };
    }
    case 'config': {
      const value = view.get('config', first);
      return value && { $case: 'config', value };
    }
    case 'sampling': {
      const value = samplingOf(view.get('service', first));
      return value && { $case: 'sampling', value };
    }
    case 'host': {
      const node = view.get('node', first);
      const value = node && hostOf(node);
      return value && { $case: 'host', value };
    }
    case 'network': {
      const value = view.get('network', first);
      return value && { $case: 'network', value };
    }
    case 'vip': {
      const network = view.get('network', first);
      const service = view.get('service', second);
      const value = service && network && vipOf(service, network);
      return value && { $case: 'vip', value };
    }
    default: {
      const task = view.get('task', second);
      const value = task && endpointOf(task, first, takesTraffic(view.get('node', task.nodeId)));
      return value && { $case: 'endpoint', value };
    }
  }
}
