// Starts PyScript. Its hook for workers is made by Function(), which the page's policy refuses, and there are no workers.
import { hooks } from "../../vendor/pyscript/core.js";

hooks.worker.onBeforeRunAsync.clear();
