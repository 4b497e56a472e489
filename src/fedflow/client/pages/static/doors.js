// Who signs out in one window is out in all of them: these load anew, which leads to the password.

const doors = new BroadcastChannel("fedflow-doors");
if (new URLSearchParams(location.search).has("out")) doors.postMessage("");
else doors.addEventListener("message", () => location.reload());
