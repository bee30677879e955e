// Talking to the admin API: JSON in and out, bounded in time, errors as problem details.

const TIMEOUT_MS = 5000;

export class ApiError extends Error {
  constructor(problem, status) {
    super(problem?.detail ?? `the server answered ${status}`);
    this.problem = problem ?? {};
    this.status = status;
  }
}

async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const parsed = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(parsed, response.status);
  return parsed;
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body);
export const remove = (path) => call("DELETE", path);
