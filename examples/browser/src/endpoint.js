// Where uploads go: the query parameter `endpoint`, or tus-server as it starts without any flag.
export const endpoint =
  new URLSearchParams(location.search).get('endpoint') ?? 'http://127.0.0.1:1080/files/'
