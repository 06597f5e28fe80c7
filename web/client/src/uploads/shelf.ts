import type { Item } from "./queue";

/**
 * What outlives the page, in IndexedDB: the uploads, and beside them copies of their files where the browser has
 * room. A browser that keeps nothing only means that an upload ends with its page.
 */

const NAME = "freewill";
const ITEMS = "uploads";
const FILES = "files";
/** Copies are made while this share of the browser's room stays free. */
const SPARE = 0.25;

export type Kept = Omit<Item, "file">;

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB failed"));
  });
}

let opening: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(ITEMS, { keyPath: "key" });
      request.result.createObjectStore(FILES);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB is closed"));
  });
  return opening;
}

async function within<T>(stores: string[], mode: IDBTransactionMode, work: (t: IDBTransaction) => IDBRequest<T>): Promise<T | null> {
  try {
    return await settled(work((await open()).transaction(stores, mode)));
  } catch {
    return null;
  }
}

export async function keepItem({ file: _file, ...kept }: Item): Promise<void> {
  await within([ITEMS], "readwrite", (t) => t.objectStore(ITEMS).put(kept));
}

/** Copy a file next to its upload, when there is room for it. */
export async function keepFile(key: string, file: File): Promise<void> {
  const { quota = 0, usage = 0 } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
  if (file.size > quota * (1 - SPARE) - usage) return;
  await within([FILES], "readwrite", (t) => t.objectStore(FILES).put(file, key));
}

export async function keptItems(): Promise<Kept[]> {
  return (await within<Kept[]>([ITEMS], "readonly", (t) => t.objectStore(ITEMS).getAll())) ?? [];
}

export async function keptFile(key: string): Promise<File | null> {
  return (await within<File | undefined>([FILES], "readonly", (t) => t.objectStore(FILES).get(key))) ?? null;
}

export async function forget(key: string): Promise<void> {
  await within([ITEMS, FILES], "readwrite", (t) => {
    t.objectStore(FILES).delete(key);
    return t.objectStore(ITEMS).delete(key);
  });
}
